/**
 * The API on a port. It listens to this machine alone unless told otherwise, and then answers only those
 * who call it by a name of this machine: a page elsewhere can give its own name our address. Connections
 * that take nothing of what they asked for are closed.
 */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { isIP, type Socket } from "node:net";
import { serve } from "@hono/node-server";
import type { Context, Hono } from "hono";
import { errno, VigorlError } from "../core/errors.ts";
import { ApiError } from "./api-error.ts";

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
    const fetch: typeof app.fetch = (request, ...rest) =>
      isLoopback(hostname) && !isOurName(request.headers.get("host"), hostname)
        ? strange(request.headers.get("host"))
        : app.fetch(request, ...rest);
    const server = serve({ fetch, hostname, port }, () => resolve(server)) as Server;
    closeStalled(server);
    // Longer than clients and proxies keep a quiet connection, so that none is closed as it is reused.
    server.keepAliveTimeout = KEEP_ALIVE_MS;
    server.once("error", (cause) => reject(listenError(cause, hostname, port)));
  });
}

const KEEP_ALIVE_MS = 75_000;

/** How long a connection may take nothing of what is being sent to it. */
const STALL_MS = 30_000;

/** Ends connections that are silent, but for those that wait for an answer in the making. */
function closeStalled(server: Server): void {
  const waiting = new Map<Socket, number>();
  server.on("request", ({ socket }: IncomingMessage, response: ServerResponse) => {
    waiting.set(socket, (waiting.get(socket) ?? 0) + 1);
    response.once("close", () => {
      const left = (waiting.get(socket) ?? 1) - 1;
      if (left > 0) waiting.set(socket, left);
      else waiting.delete(socket);
    });
  });
  server.setTimeout(STALL_MS, (socket: Socket) => {
    if (waiting.has(socket) && socket.writableLength === 0) socket.setTimeout(STALL_MS);
    else socket.destroy();
  });
}

/** Calls `done` when the answer to a request has left this process, or can no more. */
export function whenSent(c: Context, done: () => void): void {
  const outgoing = outgoingOf(c);
  if (outgoing === undefined || outgoing.destroyed) done();
  else outgoing.once("close", done);
}

/** Drops a client in the middle of its answer. */
export function endConnection(c: Context): void {
  outgoingOf(c)?.destroy();
}

function outgoingOf(c: Context): ServerResponse | undefined {
  return ((c.env ?? {}) as { outgoing?: ServerResponse }).outgoing;
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}

/** Whether a Host header names this machine itself; none at all is no browser's. */
function isOurName(header: string | null, bound: string): boolean {
  if (header === null) return true;
  const name = header
    .replace(/:\d*$/, "")
    .replace(/^\[(.*)\]$/, "$1")
    .toLowerCase();
  return isLoopback(name) || name === bound || name.endsWith(".localhost");
}

function strange(host: string | null): Response {
  const message = `this server is not called ${JSON.stringify(host)}; use 127.0.0.1 or localhost`;
  return Response.json(new ApiError(403, message).body(), { status: 403 });
}

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
