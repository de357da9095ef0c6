import assert from "node:assert/strict";
import { test } from "node:test";

import { DataType } from "../gen/qkv/v1/tensor";
import { float64s } from "./elements";

/** The one element of these bytes. */
function element(dataType: DataType, ...bytes: number[]): number {
  const values = float64s({ dataType, shape: [1n], data: Uint8Array.from(bytes) });
  assert.equal(values.length, 1);
  return values[0]!;
}

test("the bytes of every type are read as little-endian", () => {
  assert.equal(element(DataType.DATA_TYPE_FLOAT64, 0, 0, 0, 0, 0, 0, 0xf0, 0xbf), -1);
  assert.equal(element(DataType.DATA_TYPE_FLOAT32, 0, 0, 0x80, 0xbf), -1);
  assert.equal(element(DataType.DATA_TYPE_FLOAT16, 0, 0xbc), -1);
  assert.equal(element(DataType.DATA_TYPE_BFLOAT16, 0x80, 0xbf), -1);
  assert.equal(element(DataType.DATA_TYPE_BOOL, 1), 1);
  assert.equal(element(DataType.DATA_TYPE_INT64, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), -2);
  assert.equal(element(DataType.DATA_TYPE_INT32, 0xfe, 0xff, 0xff, 0xff), -2);
  assert.equal(element(DataType.DATA_TYPE_INT8, 0xfe), -2);
  assert.equal(element(DataType.DATA_TYPE_UINT8, 0xfe), 254);
});

test("half-precision numbers have the values that IEEE 754 and the formats' descriptions give them", () => {
  const values: [DataType, number, number][] = [
    [DataType.DATA_TYPE_FLOAT16, 0x3555, 0.333251953125],
    [DataType.DATA_TYPE_FLOAT16, 0x7bff, 65504],
    [DataType.DATA_TYPE_FLOAT16, 0x0400, 2 ** -14],
    [DataType.DATA_TYPE_FLOAT16, 0x03ff, 1023 * 2 ** -24],
    [DataType.DATA_TYPE_FLOAT16, 0x8001, -(2 ** -24)],
    [DataType.DATA_TYPE_FLOAT16, 0x8000, -0],
    [DataType.DATA_TYPE_FLOAT16, 0xfc00, -Infinity],
    [DataType.DATA_TYPE_FLOAT16, 0x7e01, NaN],
    [DataType.DATA_TYPE_BFLOAT16, 0x4049, 3.140625],
    [DataType.DATA_TYPE_BFLOAT16, 0x0080, 2 ** -126],
    [DataType.DATA_TYPE_BFLOAT16, 0x0001, 2 ** -133],
    [DataType.DATA_TYPE_BFLOAT16, 0x8000, -0],
    [DataType.DATA_TYPE_BFLOAT16, 0xff80, -Infinity],
    [DataType.DATA_TYPE_BFLOAT16, 0x7fc0, NaN],
  ];
  // assert.equal of node:assert/strict is Object.is: it tells −0 from 0 and takes NaN for NaN.
  for (const [dataType, bits, value] of values) assert.equal(element(dataType, bits & 0xff, bits >> 8), value);
});

test("a tensor whose bytes are not those of its shape, or whose type is unknown, is an error", () => {
  assert.throws(
    () => float64s({ dataType: DataType.DATA_TYPE_FLOAT32, shape: [2n], data: new Uint8Array(7) }),
    /7 bytes/,
  );
  assert.throws(
    () => float64s({ dataType: DataType.DATA_TYPE_UNSPECIFIED, shape: [1n], data: new Uint8Array(1) }),
    /UNSPECIFIED/,
  );
});
