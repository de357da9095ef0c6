import assert from "node:assert/strict";
import { test } from "node:test";

import { DataType, Operand } from "./gen/qkv/v1/tensor";
import { float32Operand, float32Values, tensorOf } from "./tensors";

test("values become little-endian bytes in their order", () => {
  assert.deepEqual(float32Operand([1, 2], [1, -2]).source, {
    oneofKind: "tensor",
    tensor: {
      dataType: DataType.DATA_TYPE_FLOAT32,
      shape: [1n, 2n],
      data: Uint8Array.of(0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0),
    },
  });
});

test("values are read from wherever they stand in a message", () => {
  for (const rank of [1, 2, 3, 4]) {
    const shape = [...Array(rank - 1).fill(1), 2];
    const received = Operand.fromBinary(Operand.toBinary(float32Operand(shape, [0.5, -3])));
    assert.deepEqual(float32Values(tensorOf(received)), [0.5, -3]);
  }
});

test("an answer that is no float32 tensor is an error", () => {
  const matrix = { rows: 1n, columns: 1n, values: [1] };
  const tensor = { dataType: DataType.DATA_TYPE_FLOAT64, shape: [1n], data: new Uint8Array(8) };
  const answers = [undefined, { oneofKind: "matrix", matrix }, { oneofKind: "tensor", tensor }] as const;
  for (const source of answers) {
    assert.throws(() => float32Values(tensorOf(source && { source })), TypeError);
  }
});
