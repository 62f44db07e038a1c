/** The API on a port. It listens to this machine alone unless told otherwise. */
import type { Server } from "node:http";
import { serve } from "@hono/node-server";
import type { Hono } from "hono";
import { errno, VigorlError } from "../core/errors.ts";

export interface RunningServer {
  /** Base URL for clients, `/v1` included. */
  readonly url: string;
  /** Ends the connections that are still open, too. */
  close(): Promise<void>;
}

export interface ListenOptions {
  /** Default 127.0.0.1; 0.0.0.0 is every address of the machine. */
  readonly host?: string;
  /** 0 takes a free one. */
  readonly port: number;
}

/** @throws VigorlError("usage") when the port is taken or not allowed. */
export async function startServer(app: Hono, options: ListenOptions): Promise<RunningServer> {
  const { host = "127.0.0.1", port } = options;
  const server = await listen(app, host, port);
  const address = server.address();
  const actual = typeof address === "object" && address !== null ? address.port : port;
  const name = host.includes(":") ? `[${host}]` : host;
  return { url: `http://${name}:${actual}/v1`, close: () => close(server) };
}

function listen(app: Hono, hostname: string, port: number): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = serve({ fetch: app.fetch, hostname, port }, () => resolve(server)) as Server;
    // Longer than clients and proxies keep a quiet connection, so that none is closed as it is reused.
    server.keepAliveTimeout = KEEP_ALIVE_MS;
    server.once("error", (cause) => reject(listenError(cause, hostname, port)));
  });
}

const KEEP_ALIVE_MS = 75_000;

function listenError(cause: Error, host: string, port: number): Error {
  const place = `${host}:${port}`;
  const hint = "name another one with --port and --host";
  if (errno(cause) === "EADDRINUSE")
    return new VigorlError("usage", `${place}: another program listens there`, { hint, cause });
  if (errno(cause) === "EACCES" || errno(cause) === "EADDRNOTAVAIL")
    return new VigorlError("usage", `${place}: cannot listen there`, { hint, cause });
  return cause;
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
