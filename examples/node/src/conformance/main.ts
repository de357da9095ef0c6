/**
 * Has a qkv server answer a suite of test vectors, as `qkv vectors` writes them, and compares.
 *
 * Exit status 0: there were cases and all passed; 1: some failed; 2: the suite could not be read.
 */
import { parseArgs } from "node:util";

import { connect, defaultTarget, tlsFrom, tlsOptions, tlsUsage } from "../connection";
import { readManifest } from "./manifest";
import { run } from "./run";

const usage = `usage: node dist/conformance/main.js [OPTION...] --vectors DIR
  --target TARGET         host:port of the server; else the variable QKV_TARGET, else localhost:50051
  --vectors DIR           the folder with manifest.json
${tlsUsage}`;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      target: { type: "string", default: defaultTarget },
      vectors: { type: "string" },
      help: { type: "boolean" },
      ...tlsOptions,
    },
  });
  if (values.help) {
    console.log(usage);
    return 0;
  }
  const folder = values.vectors;
  if (!folder) throw new Error(`--vectors is needed\n${usage}`);
  const vectors = readManifest(folder);
  const transport = connect(values.target, tlsFrom(values));
  let failed = 0;
  for (const vector of vectors) {
    const differences = await run(transport, folder, vector);
    if (differences.length === 0) continue;
    console.log(`${vector.name}: ${differences.join("; ")}`);
    failed++;
  }
  transport.close();
  const passed = vectors.length - failed;
  console.log(`node: ${passed} passed, ${failed} failed`);
  return failed === 0 && passed > 0 ? 0 : 1;
}

main().then(
  (status) => (process.exitCode = status),
  (error: Error) => {
    console.error("conformance:", error.message);
    process.exitCode = 2;
  },
);
