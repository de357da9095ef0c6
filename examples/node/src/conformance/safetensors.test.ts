import assert from "node:assert/strict";
import { test } from "node:test";

import { DataType } from "../gen/qkv/v1/tensor";
import { parseSafetensors } from "./safetensors";

/** A file as the Python package safetensors writes it. */
const written =
  "\xa0\0\0\0\0\0\0\0" +
  '{"__metadata__":{"made by":"safetensors"},' +
  '"count":{"dtype":"I64","shape":[],"data_offsets":[0,8]},' +
  '"half":{"dtype":"F16","shape":[1,3],"data_offsets":[8,14]}}   ' +
  "\xf9\xff\xff\xff\xff\xff\xff\xff\x00\x3c\x00\xc0\xff\x7b";

const parse = (content: string) => parseSafetensors(Buffer.from(content, "latin1"));

test("the type, the shape and the bytes of every tensor are read; metadata is none of them", () => {
  const tensors = parse(written);
  assert.deepEqual([...tensors.keys()], ["count", "half"]);
  const count = Buffer.from("f9ffffffffffffff", "hex");
  assert.deepEqual(tensors.get("count"), { dataType: DataType.DATA_TYPE_INT64, shape: [], data: count });
  const half = Buffer.from("003c00c0ff7b", "hex");
  assert.deepEqual(tensors.get("half"), { dataType: DataType.DATA_TYPE_FLOAT16, shape: [1n, 3n], data: half });
});

test("a file that is cut, or that names what is not there, is an error", () => {
  const wrong = {
    "cut in the length": written.slice(0, 7),
    "cut in the header": written.slice(0, 40),
    "cut in the data": written.slice(0, -1),
    length: "\xff" + written.slice(1),
    type: written.replace('"F16"', '"F17"'),
    order: written.replace("[8,14]", "[14,8]"),
    JSON: written.replace("]}}", "]} "),
  };
  for (const [name, content] of Object.entries(wrong)) assert.throws(() => parse(content), name);
});
