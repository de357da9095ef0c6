/** What a failed call says beside its message: the details of https://google.aip.dev/193. */
import type { RpcError } from "@protobuf-ts/runtime-rpc";

import {
  BadRequest,
  ErrorInfo,
  RetryInfo,
  Status,
  type BadRequest_FieldViolation,
} from "./gen/qkv/third_party/google_rpc";

export interface Failure {
  /** The name of the gRPC status, as INVALID_ARGUMENT. */
  code: string;
  message: string;
  /** What programs tell failures apart by, as INVALID_REQUEST. Undefined: the server said none, or was not reached. */
  reason?: string;
  /** One for each wrong field. */
  violations: BadRequest_FieldViolation[];
  /** How long to wait before another try. Undefined: the server did not say. */
  retryDelaySeconds?: number;
}

/** Reads the error of a gRPC call. */
export function failureOf(error: RpcError): Failure {
  const failure: Failure = { code: error.code, message: error.message, violations: [] };
  // A google.rpc.Status in a binary trailer, which protobuf-ts hands over in base64.
  const trailer = error.meta["grpc-status-details-bin"];
  if (typeof trailer !== "string") return failure;
  for (const { typeUrl, value } of Status.fromBinary(Buffer.from(trailer, "base64")).details) {
    switch (typeUrl) {
      case "type.googleapis.com/google.rpc.ErrorInfo":
        failure.reason = ErrorInfo.fromBinary(value).reason;
        break;
      case "type.googleapis.com/google.rpc.BadRequest":
        failure.violations = BadRequest.fromBinary(value).fieldViolations;
        break;
      case "type.googleapis.com/google.rpc.RetryInfo": {
        const delay = RetryInfo.fromBinary(value).retryDelay;
        if (delay) failure.retryDelaySeconds = Number(delay.seconds) + delay.nanos / 1e9;
        break;
      }
    }
  }
  return failure;
}

/** The status, and a line for each detail. */
export function failureText({ code, message, reason, violations, retryDelaySeconds }: Failure): string {
  const status = reason ? `${code} (${reason})` : code;
  return [
    // The message says in one line what the violations say field by field.
    violations.length > 0 ? status : `${status}: ${message}`,
    ...violations.map(({ field, description }) => `  ${field}: ${description}`),
    ...(retryDelaySeconds === undefined ? [] : [`  try again after ${retryDelaySeconds} s`]),
  ].join("\n");
}
