/** The models of a qkv server, the vectors of two texts, and an answer that comes in pieces. */
import { parseArgs } from "node:util";

import type { RpcOptions } from "@protobuf-ts/runtime-rpc";

import { callFrom, callOptions, callUsage, run } from "./command";
import { connect } from "./connection";
import { EmbedRequest, FinishReason, GenerateRequest, ModelState, Task } from "./gen/qkv/v1/models";
import { ModelServiceClient } from "./gen/qkv/v1/models.client";
import { float32Values } from "./tensors";

const usage = `usage: node dist/models.js [OPTION...] [TARGET]
  --embed-model MODEL     the model that embeds, where there are several
  --chat-model MODEL      the model that chats, where there are several
  --vectors               print the vectors, too
${callUsage}`;

const texts = ["I love bears", "Bears are adorable"];
const question = "What do bears eat?";

async function models(args: string[]): Promise<void> {
  const options = {
    "embed-model": { type: "string" },
    "chat-model": { type: "string" },
    vectors: { type: "boolean", default: false },
    ...callOptions,
  } as const;
  const { values, positionals } = parseArgs({ args, options, allowPositionals: true });
  const { target, tls, timeout } = callFrom(values, positionals);
  const transport = connect(target, tls);
  const call: RpcOptions = { timeout };
  try {
    const client = new ModelServiceClient(transport);
    await list(client, call);
    await compare(client, call, values["embed-model"], values.vectors);
    await chat(client, call, values["chat-model"]);
  } finally {
    transport.close();
  }
}

/** Prints the models, and what each can be asked for or why it cannot be used. */
async function list(client: ModelServiceClient, call: RpcOptions): Promise<void> {
  const { response } = await client.listModels({}, call);
  for (const { name, state, tasks, reason } of response.models) {
    console.log(`${name}: ${ModelState[state]} [${tasks.map((task) => Task[task]).join(", ")}] ${reason}`);
  }
}

/** Prints how alike the texts are: the cosine of the angle between their vectors. */
async function compare(client: ModelServiceClient, call: RpcOptions, model = "", show: boolean): Promise<void> {
  const { response } = await client.embed(EmbedRequest.create({ model, texts }), call);
  const values = float32Values(response.embeddings); // (texts, D), row after row
  const size = values.length / texts.length;
  if (show) console.log("vectors:", JSON.stringify(values));
  const similar = cosine(values.slice(0, size), values.slice(size)).toFixed(6);
  console.log(`${response.model}: cosine of "${texts[0]}" and "${texts[1]}": ${similar}`);
}

function cosine(a: number[], b: number[]): number {
  const dot = (x: number[], y: number[]) => x.reduce((sum, value, index) => sum + value * (y[index] ?? NaN), 0);
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
}

/** Asks a question and prints the answer piece by piece, as it comes. */
async function chat(client: ModelServiceClient, call: RpcOptions, model = ""): Promise<void> {
  const messages = [{ role: "user", content: question }];
  const request = GenerateRequest.create({ model, input: { oneofKind: "chat", chat: { messages } }, maxTokens: 40 });
  console.log(question);
  // To break off, give the call an `abort` signal: the server stops working on the answer.
  for await (const piece of client.generate(request, call).responses) {
    process.stdout.write(piece.text);
    if (piece.usage) {
      // The last piece.
      console.log(`\n${piece.model}: ${FinishReason[piece.finishReason]} after ${piece.usage.outputTokens} tokens`);
    }
  }
}

void run("models", usage, models);
