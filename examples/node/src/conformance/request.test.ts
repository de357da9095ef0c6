import assert from "node:assert/strict";
import { test } from "node:test";

import type { JsonValue, MessageType } from "@protobuf-ts/runtime";

import { AttentionRequest, MergeRequest } from "../gen/qkv/v1/attention";
import { DataType, Tensor } from "../gen/qkv/v1/tensor";
import { requestOf, type AnyMessageType } from "./request";

const tensor = (byte: number): Tensor => ({
  dataType: DataType.DATA_TYPE_UINT8,
  shape: [1n],
  data: Uint8Array.of(byte),
});
const tensors = new Map([
  ["a", tensor(1)],
  ["b", tensor(2)],
]);
const operand = (name: string) => ({ tensor: Tensor.toJson(tensors.get(name)!) });

/** The request of a vector, in JSON. */
function request<T extends object>(type: MessageType<T>, request: JsonValue, inputs: Record<string, string>) {
  const vector = { name: "a/b", method: "Any", request, inputs };
  return type.toJson(requestOf(type as unknown as AnyMessageType, vector, tensors) as T);
}

test("a request is what stands in JSON and the tensors at their paths", () => {
  const inputs = { query: "a", "visibility.mask": "b", "scoring.alibi.slopes": "a" };
  assert.deepEqual(
    request(AttentionRequest, { visibility: { windowLeft: "9007199254740993" }, scoring: { scale: "NaN" } }, inputs),
    {
      query: operand("a"),
      visibility: { windowLeft: "9007199254740993", mask: operand("b") },
      scoring: { scale: "NaN", alibi: { slopes: operand("a") } },
    },
  );
});

test("elements of repeated fields are found by their index, whatever comes first", () => {
  assert.deepEqual(
    request(MergeRequest, { logBase: "LOG_BASE_TWO" }, { "parts.1.output": "b", "parts.0.log_sum_exp": "a" }),
    { logBase: "LOG_BASE_TWO", parts: [{ logSumExp: operand("a") }, { output: operand("b") }] },
  );
});

test("what a request has no place for is an error, not left out", () => {
  assert.throws(() => request(MergeRequest, { axisOrders: 1 }, {}), /axisOrders/);
  assert.throws(() => request(MergeRequest, {}, { "parts.0.output": "missing" }), /no tensor missing/);
  for (const path of ["query", "axis_order", "parts", "parts.0", "parts.-1.output", "parts.0.output.tensor"]) {
    assert.throws(() => request(MergeRequest, {}, { [path]: "a" }), path);
  }
});
