/** Multi-head self-attention on "I love bears", computed by a qkv server. */
import { parseArgs } from "node:util";

import { RpcError } from "@protobuf-ts/runtime-rpc";

import { connect, defaultTarget, tlsFrom, tlsOptions, tlsUsage, type Tls } from "./connection";
import { failureText, failureOf } from "./failure";
import { AttentionRequest, Quantity } from "./gen/qkv/v1/attention";
import { AttentionServiceClient } from "./gen/qkv/v1/attention.client";
import type { Operand } from "./gen/qkv/v1/tensor";
import { float32Operand, float32Values } from "./tensors";

const usage = `usage: node dist/attend.js [OPTION...] [TARGET]
  TARGET                  host:port of the server; else the variable QKV_TARGET, else localhost:50051
  --heads N               attention heads; they divide the 4 features (2)
  --timeout SECONDS       the deadline of the call (30)
${tlsUsage}`;

const words = ["I", "love", "bears"];

/** Asks for causal self-attention: a word sees itself and the words before it. */
function question(heads: number): AttentionRequest {
  return AttentionRequest.create({
    // A word to a row, a feature to a column. With key and value left unset the query attends to itself.
    // prettier-ignore
    query: float32Operand([3, 4], [
      0.5, 0.8, 0.2, 0.6,
      0.7, 0.1, 0.9, 0.3,
      0.4, 0.6, 0.3, 0.8,
    ]),
    multiHead: { heads },
    visibility: { causal: true },
    outputs: [Quantity.QUANTITY_AVERAGED_WEIGHTS],
  });
}

async function attend({ target, tls, timeout, heads }: Options): Promise<void> {
  const transport = connect(target, tls);
  try {
    const client = new AttentionServiceClient(transport);
    const { response } = await client.attend(question(heads), { timeout: 1000 * timeout }); // milliseconds
    printTable("weights, averaged over the heads: how much a word looks at each", response.averagedWeights);
    printTable("output: the new embeddings", response.output);
  } finally {
    transport.close();
  }
}

/** Prints an answer of rank 2, a row for each word. */
function printTable(title: string, operand: Operand | undefined): void {
  const values = float32Values(operand);
  const columns = values.length / words.length;
  console.log(title);
  words.forEach((word, row) => {
    const cells = values.slice(row * columns, (row + 1) * columns).map((value) => value.toFixed(6).padStart(10));
    console.log(word.padStart(7) + cells.join(""));
  });
}

interface Options {
  target: string;
  tls: Tls | undefined;
  timeout: number; // seconds
  heads: number;
}

class UsageError extends Error {}

/** What the command line says. Undefined: it asks for help. */
function parseOptions(args: string[]): Options | undefined {
  const { values, positionals } = parsed(args);
  if (values.help) return undefined;
  const timeout = Number(values.timeout);
  const heads = Number(values.heads);
  if (!(timeout > 0)) throw new UsageError(`--timeout ${values.timeout}: expected seconds above 0`);
  if (!(Number.isInteger(heads) && heads >= 0 && heads < 2 ** 32)) {
    throw new UsageError(`--heads ${values.heads}: expected a number`);
  }
  if (positionals.length > 1) throw new UsageError("expected one target");
  return { target: positionals[0] ?? defaultTarget, tls: tlsFrom(values), timeout, heads };
}

function parsed(args: string[]) {
  const options = {
    heads: { type: "string", default: "2" },
    timeout: { type: "string", default: "30" },
    help: { type: "boolean" },
    ...tlsOptions,
  } as const;
  try {
    return parseArgs({ args, options, allowPositionals: true });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

async function main(): Promise<void> {
  try {
    const options = parseOptions(process.argv.slice(2));
    if (options) await attend(options);
    else console.log(usage);
  } catch (error) {
    console.error("attend:", error instanceof RpcError ? failureText(failureOf(error)) : (error as Error).message);
    if (error instanceof UsageError) console.error(usage);
    process.exitCode = error instanceof UsageError ? 2 : 1;
  }
}

void main();
