import assert from "node:assert/strict";
import { test } from "node:test";

import { RpcError } from "@protobuf-ts/runtime-rpc";

import { failureOf, failureText } from "./failure";

// Error details as Python's googleapis-common-protos serializes them: a Status with an ErrorInfo (INVALID_REQUEST,
// qkv.v1), a BadRequest (query: needed; scoring.scale: is NaN) and a RetryInfo (1.5 s).
const details =
  "CAMSBXdyb25nGkUKKHR5cGUuZ29vZ2xlYXBpcy5jb20vZ29vZ2xlLnJwYy5FcnJvckluZm8SGQoPSU5WQUxJRF9SRVFVRVNUEgZx" +
  "a3YudjEaVwopdHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLkJhZFJlcXVlc3QSKgoPCgVxdWVyeRIGbmVlZGVkChcKDXNj" +
  "b3Jpbmcuc2NhbGUSBmlzIE5hTho2Cih0eXBlLmdvb2dsZWFwaXMuY29tL2dvb2dsZS5ycGMuUmV0cnlJbmZvEgoKCAgBEIDKte4B";

test("every detail of a status is read and told", () => {
  const failure = failureOf(new RpcError("wrong", "INVALID_ARGUMENT", { "grpc-status-details-bin": details }));
  assert.equal(failure.message, "wrong");
  assert.equal(
    failureText(failure),
    "INVALID_ARGUMENT (INVALID_REQUEST)\n  query: needed\n  scoring.scale: is NaN\n  try again after 1.5 s",
  );
});

test("an error without details is its status and its message alone", () => {
  const failure = failureOf(new RpcError("too late", "DEADLINE_EXCEEDED"));
  assert.equal(failureText(failure), "DEADLINE_EXCEEDED: too late");
});
