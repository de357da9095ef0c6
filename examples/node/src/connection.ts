/** How to reach a qkv server: the target and transport security. */
import { readFileSync } from "node:fs";
import type { parseArgs } from "node:util";

import { ChannelCredentials } from "@grpc/grpc-js";
import { GrpcTransport } from "@protobuf-ts/grpc-transport";

/** What the variable QKV_TARGET says, else where a server is that was told nothing. */
export const defaultTarget = process.env["QKV_TARGET"] || "localhost:50051";

/** Transport security by PEM files. An empty object trusts the system's authorities. */
export interface Tls {
  /** The authorities to trust instead. */
  ca?: string;
  /** The client's own certificate, for mutual TLS, and its key. */
  certificate?: string;
  certificateKey?: string;
  /** The name in the server's certificate, if it is not the target's. */
  serverName?: string;
}

/** A connection to host:port or unix:/path, in plain text unless `tls` is given. The first call opens it. */
export function connect(target: string, tls?: Tls): GrpcTransport {
  return new GrpcTransport({
    host: target,
    channelCredentials: tls ? encrypted(tls) : ChannelCredentials.createInsecure(),
    clientOptions: {
      // How large an answer may be is for the server to limit; grpc-js alone would refuse more than 4 MiB.
      "grpc.max_receive_message_length": -1,
      ...(tls?.serverName && { "grpc.ssl_target_name_override": tls.serverName }),
    },
  });
}

function encrypted({ ca, certificate, certificateKey }: Tls): ChannelCredentials {
  const pem = (path: string | undefined) => (path === undefined ? null : readFileSync(path));
  return ChannelCredentials.createSsl(pem(ca), pem(certificateKey), pem(certificate));
}

/** The options of a command line, for `parseArgs`, that become a `Tls`. */
export const tlsOptions = {
  tls: { type: "boolean" },
  ca: { type: "string" },
  certificate: { type: "string" },
  "certificate-key": { type: "string" },
  "server-name": { type: "string" },
} as const;

export const tlsUsage = `\
  --tls                   TLS, trusting the system's authorities
  --ca FILE               TLS, trusting these authorities (PEM)
  --certificate FILE      the client's own certificate, for mutual TLS (PEM)
  --certificate-key FILE  its key (PEM)
  --server-name NAME      the name in the server's certificate, if it is not the target's`;

/** What was said by `tlsOptions`. Undefined: plain text. */
export function tlsFrom(values: TlsValues): Tls | undefined {
  if (!Object.keys(tlsOptions).some((name) => name in values)) return undefined;
  const { ca, certificate, "certificate-key": certificateKey, "server-name": serverName } = values;
  return { ca, certificate, certificateKey, serverName };
}

type TlsValues = ReturnType<typeof parseArgs<{ options: typeof tlsOptions }>>["values"];
