import { join } from "node:path";

import type { GrpcTransport } from "@protobuf-ts/grpc-transport";
import { RpcError } from "@protobuf-ts/runtime-rpc";

import { AttentionService } from "../gen/qkv/v1/attention";
import { compareAnswer, compareFailure } from "./compare";
import type { Vector } from "./manifest";
import { requestOf } from "./request";
import { readSafetensors, type Tensors } from "./safetensors";

/** The deadline of a vector that says none. */
const defaultTimeoutSeconds = 30;

/** Makes the call of a vector, and says how what came back is not what must come. */
export async function run(transport: GrpcTransport, folder: string, vector: Vector): Promise<string[]> {
  try {
    const tensors: Tensors = vector.file ? readSafetensors(join(folder, vector.file)) : new Map();
    return await call(transport, vector, tensors);
  } catch (error) {
    return [error instanceof RpcError ? `failed with ${error.code}: ${error.message}` : (error as Error).message];
  }
}

async function call(transport: GrpcTransport, vector: Vector, tensors: Tensors): Promise<string[]> {
  const { expected, error: refusal, timeout_seconds: seconds = defaultTimeoutSeconds } = vector;
  if (!expected === !refusal) throw new Error("the vector must expect either an answer or an error");
  const method = AttentionService.methods.find((method) => method.name === vector.method);
  if (!method) throw new Error(`${AttentionService.typeName} has no method ${vector.method}`);
  const request = requestOf(method.I, vector, tensors);
  const options = transport.mergeOptions({ timeout: 1000 * seconds });
  try {
    const { response } = await transport.unary(method, request, options);
    if (!expected) return [`was answered, expected ${refusal?.code}`];
    return compareAnswer(method.O, response, expected, tensors);
  } catch (error) {
    if (!refusal) throw error;
    return compareFailure(error, refusal);
  }
}
