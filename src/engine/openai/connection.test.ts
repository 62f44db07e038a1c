import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { createGzip } from "node:zlib";
import { afterEach, expect, test } from "vitest";
import { findServedModel } from "./sampler.ts";

let close = () => {};
afterEach(() => close());

/** The address of a server that answers every request so. */
async function serverOf(answer: (response: ServerResponse) => void): Promise<string> {
  const server = createServer((_, response) => answer(response));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  close = () => {
    server.closeAllConnections();
    server.close();
  };
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
}

const ask = (baseUrl: string) =>
  findServedModel({ baseUrl, retries: 0, retryDelayMs: 1, timeoutMs: 60_000 });

/** Writes blanks until the reader has gone away, at most 512 MiB. */
function pour(into: NodeJS.WritableStream, response: ServerResponse): void {
  let numLeft = 512;
  const more = () => {
    while (numLeft-- > 0 && !response.destroyed)
      if (!into.write(Buffer.alloc(1 << 20, 32))) return void into.once("drain", more);
    into.end();
  };
  more();
}

test.each([
  ["that packs more than a reply may hold", "gzip"],
  ["that does not end", undefined],
])("a reply %s is broken off", async (_, encoding) => {
  const url = await serverOf((response) => {
    response.writeHead(200, {
      "content-type": "application/json",
      ...(encoding === undefined ? {} : { "content-encoding": encoding }),
    });
    if (encoding === undefined) return pour(response, response);
    const packed = createGzip({ level: 1 });
    packed.pipe(response);
    pour(packed, response);
  });
  await expect(ask(url)).rejects.toThrow(/\/models: .*more than 64 MiB/);
});

test("an error page that does not end is broken off", async () => {
  const url = await serverOf((response) => {
    response.writeHead(400, { "content-type": "text/html" });
    pour(response, response);
  });
  await expect(ask(url)).rejects.toThrow(/127\.0\.0\.1/);
});

test("a reply that leads elsewhere than to a server, or in circles, is an error", async () => {
  for (const location of ["file:///etc/passwd", "/v1/models"]) {
    const url = await serverOf((response) => void response.writeHead(302, { location }).end());
    await expect(ask(url)).rejects.toThrow(/127\.0\.0\.1/);
    close();
  }
});
