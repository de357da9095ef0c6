import { readFileSync } from "node:fs";

import type { Tensor } from "../gen/qkv/v1/tensor";
import { dataTypeNamed } from "./elements";

export type Tensors = ReadonlyMap<string, Tensor>;

/** Stands among the tensors of a header and is none. */
const metadataKey = "__metadata__";

/** What a header says of a tensor. */
interface Entry {
  dtype: string;
  shape: number[];
  data_offsets: [begin: number, end: number];
}

/** Reads a file of https://github.com/huggingface/safetensors. */
export function readSafetensors(path: string): Tensors {
  const content = readFileSync(path);
  try {
    return parseSafetensors(content);
  } catch (error) {
    throw new Error(`${path}: ${(error as Error).message}`);
  }
}

/**
 * The length of the header (8 bytes, little-endian), the header in JSON, the data. Its bytes are laid out as the
 * contract wants them.
 */
export function parseSafetensors(content: Buffer): Tensors {
  const headerEnd = 8 + Number(content.readBigUInt64LE(0));
  if (headerEnd > content.length) throw new Error(`the header ends at ${headerEnd}, the file at ${content.length}`);
  const header: Record<string, Entry> = JSON.parse(content.toString("utf8", 8, headerEnd));
  const data = content.subarray(headerEnd);
  const tensors = new Map<string, Tensor>();
  for (const [name, { dtype, shape, data_offsets }] of Object.entries(header)) {
    if (name === metadataKey) continue;
    const [begin, end] = data_offsets;
    if (!(0 <= begin && begin <= end && end <= data.length)) {
      throw new Error(`${name}: bytes ${begin} to ${end}, there are ${data.length}`);
    }
    tensors.set(name, { dataType: dataTypeNamed(dtype), shape: shape.map(BigInt), data: data.subarray(begin, end) });
  }
  return tensors;
}
