import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";

import { readManifest } from "./manifest";

function read(context: TestContext, manifest: unknown) {
  const folder = mkdtempSync(join(tmpdir(), "qkv-"));
  context.after(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, "manifest.json"), JSON.stringify(manifest));
  return readManifest(folder);
}

test("the cases of a suite are read", (context) => {
  const vector = { name: "a/b", method: "Attend", request: {}, error: { code: "CANCELLED" }, timeout_seconds: 0.5 };
  assert.deepEqual(read(context, { format: 1, cases: [vector] }), [vector]);
});

test("a suite of another format is refused, whatever else it holds", (context) => {
  for (const manifest of [{ format: 2, cases: [] }, { format: "1", cases: [] }, { cases: [] }, [], null]) {
    assert.throws(() => read(context, manifest), /format is .*, this program reads 1/);
  }
  assert.throws(() => read(context, { format: 1, cases: {} }), /no list of cases/);
});
