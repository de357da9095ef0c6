// Calls Attend as a page of another origin does; tests/web/test_web_browser.py opens it and reads window.outcome.
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";
import { AttentionService, Quantity } from "./build/gen/qkv/v1/attention_pb.js";

const arguments_ = new URLSearchParams(location.search);
const transports = {
  "gRPC-Web": createGrpcWebTransport,
  "Connect, binary": (options) => createConnectTransport({ ...options, useBinaryFormat: true }),
  "Connect, JSON": createConnectTransport,
};
const client = createClient(AttentionService, transports[arguments_.get("protocol")]({ baseUrl: arguments_.get("server") }));

async function ask() {
  const matrix = { rows: 3n, columns: 4n, values: [0.5, 0.8, 0.2, 0.6, 0.7, 0.1, 0.9, 0.3, 0.4, 0.6, 0.3, 0.8] };
  const query = { source: { case: "matrix", value: matrix } };
  const { output, weights } = await client.attend({ query, scoring: { scale: 1 }, outputs: [Quantity.WEIGHTS] });
  return { output: output.source.value.values, weights: weights.source.value.values };
}

async function beRefused() {
  try {
    await client.attend({});
  } catch (error) {
    const { code, rawMessage, details } = ConnectError.from(error);
    return { code: Code[code], message: rawMessage, details: details.map(({ type, value }) => ({ type, value: [...value] })) };
  }
}

try {
  window.outcome = { answer: await ask(), refusal: await beRefused() };
} catch (error) {
  window.outcome = { failure: String(error) };
}
