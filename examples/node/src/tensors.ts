/** Arrays of float32 to operands, and tensors to arrays. */
import { DataType, type Operand, type Tensor } from "./gen/qkv/v1/tensor";

const width = 4; // bytes
const littleEndian = true; // the contract's bytes are, on every machine; a Float32Array has the machine's order

/** An operand of values in C order: row after row, the last axis varies fastest. */
export function float32Operand(shape: number[], values: number[]): Operand {
  const data = new Uint8Array(width * values.length);
  const view = new DataView(data.buffer);
  values.forEach((value, index) => view.setFloat32(width * index, value, littleEndian));
  // int64 is bigint in TypeScript.
  return {
    source: { oneofKind: "tensor", tensor: { dataType: DataType.DATA_TYPE_FLOAT32, shape: shape.map(BigInt), data } },
  };
}

/** The tensor of an answer to a tensor. */
export function tensorOf(operand: Operand | undefined): Tensor | undefined {
  return operand?.source.oneofKind === "tensor" ? operand.source.tensor : undefined;
}

/** The values of an answer in float32, in C order. */
export function float32Values(tensor: Tensor | undefined): number[] {
  if (tensor?.dataType !== DataType.DATA_TYPE_FLOAT32) throw new TypeError("the answer is no float32 tensor");
  // The bytes are a part of the message they came in, at an offset of it.
  const { buffer, byteOffset, byteLength } = tensor.data;
  const view = new DataView(buffer, byteOffset, byteLength);
  return Array.from({ length: byteLength / width }, (_, index) => view.getFloat32(width * index, littleEndian));
}
