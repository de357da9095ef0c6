import { RepeatType, type IMessageType } from "@protobuf-ts/runtime";

import { Operand } from "../gen/qkv/v1/tensor";
import type { Vector } from "./manifest";
import type { Tensors } from "./safetensors";

/** A message whose type is known at run time alone. */
export type AnyMessage = Record<string, unknown>;
export type AnyMessageType = IMessageType<AnyMessage>;

/** Makes the request of a vector: what stands in JSON, and the tensors at their paths. */
export function requestOf(type: AnyMessageType, { request, inputs = {} }: Vector, tensors: Tensors): AnyMessage {
  const message = type.fromJson(request);
  for (const [path, name] of Object.entries(inputs)) {
    const tensor = tensors.get(name);
    if (!tensor) throw new Error(`${path}: no tensor ${name} in the file`);
    operandAt(type, message, path).source = { oneofKind: "tensor", tensor };
  }
  return message;
}

/** Finds, or makes, the operand at a path of field names and indices of repeated fields, as "parts.0.output". */
function operandAt(type: AnyMessageType, message: AnyMessage, path: string): Operand {
  const steps = path.split(".");
  for (let name = steps.shift(); name !== undefined; name = steps.shift()) {
    const field = type.fields.find((field) => field.name === name);
    // A oneof has no field of its own in the object; none of the contract's lies on the way to an operand.
    if (field?.kind !== "message" || field.oneof) throw new Error(`${path}: ${type.typeName} has no message ${name}`);
    type = field.T();
    if (field.repeat === RepeatType.NO) {
      message = (message[field.localName] ??= type.create()) as AnyMessage;
    } else {
      message = elementAt(type, message[field.localName] as AnyMessage[], steps.shift());
    }
  }
  if (type.typeName !== Operand.typeName) throw new Error(`${path}: is a ${type.typeName}, expected an operand`);
  return message as unknown as Operand;
}

/** Finds, or makes with all before it, the element of a repeated field. */
function elementAt(type: AnyMessageType, list: AnyMessage[], index: string | undefined): AnyMessage {
  if (index === undefined || !/^\d{1,4}$/.test(index)) throw new Error(`${index}: expected an index`);
  while (list.length <= Number(index)) list.push(type.create());
  return list[Number(index)]!;
}
