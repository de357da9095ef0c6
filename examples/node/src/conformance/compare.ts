import { RpcError } from "@protobuf-ts/runtime-rpc";

import { failureOf } from "../failure";
import { DataType, Operand } from "../gen/qkv/v1/tensor";
import { float64s } from "./elements";
import type { Expected, Refusal } from "./manifest";
import type { AnyMessage, AnyMessageType } from "./request";
import type { Tensors } from "./safetensors";

/** Every way in which an answer is not the expected one. */
export function compareAnswer(
  type: AnyMessageType,
  answer: AnyMessage,
  expectations: Record<string, Expected>,
  tensors: Tensors,
): string[] {
  const operands = type.fields.filter((field) => field.kind === "message" && field.T().typeName === Operand.typeName);
  const names = operands.map((field) => field.name);
  const unknown = Object.keys(expectations).filter((name) => !names.includes(name));
  return [
    ...unknown.map((name) => `${name}: is no operand of ${type.typeName}`),
    ...operands.flatMap(({ name, localName }) => {
      const operand = answer[localName] as Operand | undefined;
      const expected = expectations[name];
      if (!operand) return expected ? [`${name}: is unset`] : [];
      if (!expected) return [`${name}: is set, expected unset`];
      return compareOperand(operand, expected, tensors).map((difference) => `${name}: ${difference}`);
    }),
  ];
}

function compareOperand(operand: Operand, expected: Expected, tensors: Tensors): string[] {
  const tensor = tensors.get(expected.tensor);
  if (!tensor) return [`no tensor ${expected.tensor} in the file`];
  const want = float64s(tensor);
  const { form, shape, values } = read(operand);
  const expectedForm = expected.matrix ? matrixForm : expected.dataType;
  if (form !== expectedForm || String(shape) !== String(expected.shape)) {
    return [`is ${form} [${shape}], expected ${expectedForm} [${expected.shape}]`];
  }
  if (values.length !== want.length) return [`has ${values.length} elements, expected ${want.length}`];
  const { absolute, relative } = expected;
  const far = want.findIndex((value, index) => !near(values[index]!, value, absolute + relative * Math.abs(value)));
  if (far < 0) return [];
  return [`element ${far} is ${values[far]}, expected ${want[far]} (absolute ${absolute}, relative ${relative})`];
}

/** The form of an operand that is a matrix; that of a tensor is the name of its data type. */
const matrixForm = "matrix";

function read({ source }: Operand): { form: string; shape: bigint[]; values: ArrayLike<number> } {
  switch (source.oneofKind) {
    case "matrix": {
      const { rows, columns, values } = source.matrix;
      return { form: matrixForm, shape: [rows, columns], values };
    }
    case "tensor": {
      const { dataType, shape } = source.tensor;
      return { form: DataType[dataType], shape, values: float64s(source.tensor) };
    }
    default:
      return { form: "unset", shape: [], values: [] };
  }
}

/** Holds for a number within the tolerance, for NaN where NaN is expected, and for an infinity of the same sign. */
export function near(got: number, want: number, tolerance: number): boolean {
  return Object.is(got, want) || (Number.isFinite(want) && Math.abs(got - want) <= tolerance);
}

/** How a call failed otherwise than it must. */
export function compareFailure(error: unknown, expected: Refusal): string[] {
  if (!(error instanceof RpcError)) throw error;
  const { code, reason, message, violations } = failureOf(error);
  const fields = [...new Set(violations.map(({ field }) => field))].sort();
  const got = refusalText({ code, reason, fields });
  const want = refusalText(expected);
  return got === want ? [] : [`failed with ${got} (${message}), expected ${want}`];
}

function refusalText({ code, reason = "no reason", fields = [] }: Refusal): string {
  return `${code}, ${reason}, [${fields.join(", ")}]`;
}
