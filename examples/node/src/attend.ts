/** Multi-head self-attention on "I love bears", computed by a qkv server. */
import { parseArgs } from "node:util";

import { callFrom, callOptions, callUsage, run, UsageError } from "./command";
import { connect } from "./connection";
import { AttentionRequest, Quantity } from "./gen/qkv/v1/attention";
import { AttentionServiceClient } from "./gen/qkv/v1/attention.client";
import type { Operand } from "./gen/qkv/v1/tensor";
import { float32Operand, float32Values, tensorOf } from "./tensors";

const usage = `usage: node dist/attend.js [OPTION...] [TARGET]
  --heads N               attention heads; they divide the 4 features (2)
${callUsage}`;

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

async function attend(args: string[]): Promise<void> {
  const options = { heads: { type: "string", default: "2" }, ...callOptions } as const;
  const { values, positionals } = parseArgs({ args, options, allowPositionals: true });
  const { target, tls, timeout } = callFrom(values, positionals);
  const heads = Number(values.heads);
  if (!(Number.isInteger(heads) && heads >= 0 && heads < 2 ** 32)) {
    throw new UsageError(`--heads ${values.heads}: expected a number`);
  }
  const transport = connect(target, tls);
  try {
    const client = new AttentionServiceClient(transport);
    const { response } = await client.attend(question(heads), { timeout });
    printTable("weights, averaged over the heads: how much a word looks at each", response.averagedWeights);
    printTable("output: the new embeddings", response.output);
  } finally {
    transport.close();
  }
}

/** Prints an answer of rank 2, a row for each word. */
function printTable(title: string, operand: Operand | undefined): void {
  const values = float32Values(tensorOf(operand));
  const columns = values.length / words.length;
  console.log(title);
  words.forEach((word, row) => {
    const cells = values.slice(row * columns, (row + 1) * columns).map((value) => value.toFixed(6).padStart(10));
    console.log(word.padStart(7) + cells.join(""));
  });
}

void run("attend", usage, attend);
