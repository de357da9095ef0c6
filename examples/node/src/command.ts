/** What the command lines of the examples share: where to call and how long to wait, and what is said of a failure. */
import { parseArgs } from "node:util";

import { RpcError } from "@protobuf-ts/runtime-rpc";

import { defaultTarget, tlsFrom, tlsOptions, tlsUsage, type Tls } from "./connection";
import { failureOf, failureText } from "./failure";

export interface Call {
  target: string;
  tls: Tls | undefined;
  timeout: number; // milliseconds
}

export class UsageError extends Error {}

/** The options of a command line, for `parseArgs`, that become a `Call`. */
export const callOptions = { timeout: { type: "string", default: "30" }, ...tlsOptions } as const;

export const callUsage = `\
  TARGET                  host:port of the server; else the variable QKV_TARGET, else localhost:50051
  --timeout SECONDS       the deadline of the call (30)
${tlsUsage}`;

/** What was said by `callOptions`, and the target after them. */
export function callFrom(values: CallValues, positionals: string[]): Call {
  const seconds = Number(values.timeout);
  if (!(seconds > 0)) throw new UsageError(`--timeout ${values.timeout}: expected seconds above 0`);
  if (positionals.length > 1) throw new UsageError("expected one target");
  return { target: positionals[0] ?? defaultTarget, tls: tlsFrom(values), timeout: 1000 * seconds };
}

type CallValues = ReturnType<typeof parseArgs<{ options: typeof callOptions }>>["values"];

/** Runs a program with its arguments. The exit status is 1 for a failure, and 2 for a wrong command line. */
export async function run(name: string, usage: string, program: (args: string[]) => Promise<void>): Promise<void> {
  const args = process.argv.slice(2);
  try {
    if (args.includes("--help")) console.log(usage);
    else await program(args);
  } catch (error) {
    const { message, code } = error as NodeJS.ErrnoException;
    const misused = error instanceof UsageError || code?.startsWith("ERR_PARSE_ARGS");
    console.error(`${name}:`, error instanceof RpcError ? failureText(failureOf(error)) : message);
    if (misused) console.error(usage);
    process.exitCode = misused ? 2 : 1;
  }
}
