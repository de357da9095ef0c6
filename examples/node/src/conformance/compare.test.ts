import assert from "node:assert/strict";
import { test } from "node:test";

import type { PartialMessage } from "@protobuf-ts/runtime";
import { RpcError } from "@protobuf-ts/runtime-rpc";

import { BadRequest, ErrorInfo, Status } from "../gen/qkv/third_party/google_rpc";
import { AttentionResponse } from "../gen/qkv/v1/attention";
import { DataType, type Operand, type Tensor } from "../gen/qkv/v1/tensor";
import { compareAnswer, compareFailure, near } from "./compare";
import type { Expected } from "./manifest";
import type { AnyMessage, AnyMessageType } from "./request";

const numbers = [1, -4];

function float64Tensor(shape: bigint[], values: number[]): Tensor {
  const data = new DataView(new ArrayBuffer(8 * values.length));
  values.forEach((value, index) => data.setFloat64(8 * index, value, true));
  return { dataType: DataType.DATA_TYPE_FLOAT64, shape, data: new Uint8Array(data.buffer) };
}

function tensor(shape: bigint[], values: number[]): Operand {
  return { source: { oneofKind: "tensor", tensor: float64Tensor(shape, values) } };
}

function matrix(rows: bigint, columns: bigint, values: number[]): Operand {
  return { source: { oneofKind: "matrix", matrix: { rows, columns, values } } };
}

test("an answer passes exactly when its form, type, shape, elements and fields are the expected ones", () => {
  const tolerance = { tensor: "numbers", absolute: 0.125, relative: 0.25 };
  const vector: Expected = { ...tolerance, dataType: "DATA_TYPE_FLOAT64", shape: [2] };
  const narrow: Expected = { ...vector, dataType: "DATA_TYPE_FLOAT16" };
  const row: Expected = { ...tolerance, matrix: true, shape: [1, 2] };
  const right = tensor([2n], numbers);
  const differences = (answer: PartialMessage<AttentionResponse>, expected: Record<string, Expected>) =>
    compareAnswer(
      AttentionResponse as unknown as AnyMessageType,
      AttentionResponse.create(answer) as unknown as AnyMessage,
      expected,
      new Map([["numbers", float64Tensor([2n], numbers)]]),
    ).join("; ");

  assert.equal(differences({ output: right }, { output: vector }), "");
  assert.equal(differences({ output: tensor([2n], [1.375, -2.875]) }, { output: vector }), "");
  assert.match(differences({ output: tensor([2n], [1, -2.87]) }, { output: vector }), /^output: element 1 is -2.87/);
  assert.match(differences({ output: tensor([1n, 2n], numbers) }, { output: vector }), /\[1,2\], expected .* \[2\]/);
  assert.match(differences({ output: right }, { output: narrow }), /FLOAT64 .*, expected .*FLOAT16/);
  assert.equal(differences({ output: matrix(1n, 2n, numbers) }, { output: row }), "");
  assert.match(differences({ output: matrix(1n, 2n, [1]) }, { output: row }), /has 1 elements/);
  assert.match(differences({ output: matrix(1n, 2n, numbers) }, { output: vector }), /is matrix/);
  assert.match(differences({ output: tensor([1n, 2n], numbers) }, { output: row }), /expected matrix/);
  assert.match(differences({ output: { source: { oneofKind: undefined } } }, { output: vector }), /is unset/);
  assert.equal(differences({}, { output: vector }), "output: is unset");
  assert.equal(differences({ output: right, logSumExp: right }, { output: vector, log_sum_exp: vector }), "");
  assert.match(differences({ output: right, logSumExp: right }, { output: vector }), /^log_sum_exp: is set/);
  assert.match(differences({ output: right }, { output: vector, report: vector }), /^report: is no operand/);
  assert.match(differences({ output: right }, { output: { ...vector, tensor: "none" } }), /no tensor none/);
});

test("NaN passes only for NaN, and an infinity only for itself", () => {
  for (const got of [NaN, Infinity, -Infinity, 1]) {
    for (const want of [NaN, Infinity, -Infinity, 1]) assert.equal(near(got, want, 1), Object.is(got, want));
  }
});

test("a refusal passes exactly when its code, its reason and the set of its fields are the expected ones", () => {
  const violations = ["query", "key", "query"].map((field) => ({ field, description: "wrong" }));
  const details = [
    {
      typeUrl: "type.googleapis.com/google.rpc.ErrorInfo",
      value: ErrorInfo.toBinary(ErrorInfo.create({ reason: "R" })),
    },
    {
      typeUrl: "type.googleapis.com/google.rpc.BadRequest",
      value: BadRequest.toBinary({ fieldViolations: violations }),
    },
  ];
  const trailer = Buffer.from(Status.toBinary(Status.create({ details }))).toString("base64");
  const refused = new RpcError("wrong", "INVALID_ARGUMENT", { "grpc-status-details-bin": trailer });
  const late = new RpcError("late", "DEADLINE_EXCEEDED");
  const [code, reason, fields] = ["INVALID_ARGUMENT", "R", ["key", "query"]];

  assert.deepEqual(compareFailure(refused, { code, reason, fields }), []);
  assert.deepEqual(compareFailure(late, { code: "DEADLINE_EXCEEDED", fields: [] }), []);
  assert.equal(compareFailure(refused, { code: "UNAVAILABLE", reason, fields }).length, 1);
  assert.equal(compareFailure(refused, { code, reason: "OTHER", fields }).length, 1);
  assert.equal(compareFailure(refused, { code, reason, fields: ["key"] }).length, 1);
  assert.equal(compareFailure(refused, { code, fields }).length, 1);
  assert.equal(compareFailure(late, { code: "DEADLINE_EXCEEDED", reason, fields: [] }).length, 1);
  assert.throws(() => compareFailure(new Error("no call"), { code, reason, fields }), /no call/);
});
