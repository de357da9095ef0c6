import { readFileSync } from "node:fs";
import { join } from "node:path";

import type { JsonValue } from "@protobuf-ts/runtime";

/** The format of suites that this program reads. */
const format = 1;

/** A call, and the answer or the refusal that it must have. */
export interface Vector {
  name: string;
  /** Of qkv.v1.AttentionService. */
  method: string;
  /** The request in proto3 JSON, without the operands that are tensors. */
  request: JsonValue;
  /** Safetensors beside the manifest. Unset: no arrays. */
  file?: string;
  /** From the path of an operand in the request to a tensor of the file. */
  inputs?: Record<string, string>;
  /** By the fields of the answer. */
  expected?: Record<string, Expected>;
  error?: Refusal;
  timeout_seconds?: number;
}

/** One array of an answer. An element passes within absolute + relative·|expected|. */
export interface Expected {
  /** In the file; float64. */
  tensor: string;
  /** Of the answer's tensor, by name. */
  dataType?: string;
  /** The answer is a matrix. */
  matrix?: boolean;
  shape: number[];
  absolute: number;
  relative: number;
}

/** How a call must fail. */
export interface Refusal {
  /** The name of the gRPC status. */
  code: string;
  /** Of ErrorInfo. Unset: no details. */
  reason?: string;
  /** Those of BadRequest, sorted. */
  fields?: string[];
}

/** Reads the vectors of a folder that `qkv vectors` wrote. */
export function readManifest(folder: string): Vector[] {
  const path = join(folder, "manifest.json");
  const suite = JSON.parse(readFileSync(path, "utf8"));
  if (suite?.format !== format) {
    throw new Error(`${path}: format is ${JSON.stringify(suite?.format)}, this program reads ${format}`);
  }
  if (!Array.isArray(suite.cases)) throw new Error(`${path}: has no list of cases`);
  return suite.cases;
}
