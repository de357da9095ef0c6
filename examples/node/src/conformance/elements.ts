/** The bytes of every data type. */
import { getFloat16 } from "@petamoriken/float16";

import { DataType, type Tensor } from "../gen/qkv/v1/tensor";

/** A type of the elements of a tensor. */
interface ElementType {
  dataType: DataType;
  width: number; // bytes
  /** The value at an offset, little-endian. An int64 beyond 2⁵³ is rounded. */
  read(view: DataView, offset: number): number;
}

/** By their names in safetensors. */
const elementTypes = new Map<string, ElementType>([
  ["F64", { dataType: DataType.DATA_TYPE_FLOAT64, width: 8, read: (view, offset) => view.getFloat64(offset, true) }],
  ["F32", { dataType: DataType.DATA_TYPE_FLOAT32, width: 4, read: (view, offset) => view.getFloat32(offset, true) }],
  ["F16", { dataType: DataType.DATA_TYPE_FLOAT16, width: 2, read: (view, offset) => getFloat16(view, offset, true) }],
  ["BF16", { dataType: DataType.DATA_TYPE_BFLOAT16, width: 2, read: getBfloat16 }],
  ["BOOL", { dataType: DataType.DATA_TYPE_BOOL, width: 1, read: (view, offset) => view.getUint8(offset) }],
  [
    "I64",
    { dataType: DataType.DATA_TYPE_INT64, width: 8, read: (view, offset) => Number(view.getBigInt64(offset, true)) },
  ],
  ["I32", { dataType: DataType.DATA_TYPE_INT32, width: 4, read: (view, offset) => view.getInt32(offset, true) }],
  ["I8", { dataType: DataType.DATA_TYPE_INT8, width: 1, read: (view, offset) => view.getInt8(offset) }],
  ["U8", { dataType: DataType.DATA_TYPE_UINT8, width: 1, read: (view, offset) => view.getUint8(offset) }],
]);

/** A bfloat16 is the upper half of a binary32. */
function getBfloat16(view: DataView, offset: number): number {
  const widened = new DataView(new ArrayBuffer(4));
  widened.setUint32(0, view.getUint16(offset, true) << 16);
  return widened.getFloat32(0);
}

/** The data type that has this name in safetensors. */
export function dataTypeNamed(name: string): DataType {
  const type = elementTypes.get(name);
  if (!type) throw new Error(`dtype ${name} is unknown`);
  return type.dataType;
}

/** Widens every element of a tensor. It is an error if there are not as many as its shape says. */
export function float64s({ dataType, shape, data }: Tensor): Float64Array {
  const type = [...elementTypes.values()].find((type) => type.dataType === dataType);
  if (!type) throw new Error(`a tensor of ${DataType[dataType]}`);
  const bytes = shape.reduce((product, length) => product * length, BigInt(type.width));
  if (BigInt(data.length) !== bytes) {
    throw new Error(`${data.length} bytes for shape [${shape}] of ${DataType[dataType]}`);
  }
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  return Float64Array.from({ length: data.length / type.width }, (_, index) => type.read(view, index * type.width));
}
