/**
 * A server under load and malice: 64 clients ask 20 times each with a picture, while 12 connections ask
 * for long streams and never read, and 1,000 malformed requests arrive. Beside it the same clients on the
 * same server with nobody else there. With --minutes, the attack is repeated for so long, and the server's
 * memory has to stay where it was after the first fifth. Loopback and the nano model alone.
 *
 *   npm run bench -- attack [--json] [--clients 64] [--requests 20] [--stuck 12] [--malformed 1000]
 *                           [--minutes 0]
 */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import sharp from "sharp";
import { z } from "zod";
import { stream } from "../src/core/random.ts";

const { values } = parseArgs({
  options: {
    json: { type: "boolean", default: false },
    clients: { type: "string", default: "64" },
    requests: { type: "string", default: "20" },
    stuck: { type: "string", default: "12" },
    malformed: { type: "string", default: "1000" },
    minutes: { type: "string", default: "0" },
  },
});
const numClients = Number(values.clients);
const numRequests = Number(values.requests);

const child = spawn(
  process.execPath,
  ["--import", "tsx", "src/cli.ts", "serve", "models/nano", "--json", "--port", "0"],
  { stdio: ["ignore", "pipe", "inherit"] },
);
try {
  await benchmark();
} finally {
  child.kill("SIGKILL");
}

async function benchmark(): Promise<void> {
  const base = await serverUrl();
  await clients(base, 8, 2); // threads start, code is compiled
  const quiet = await watched(base, () => clients(base, numClients, numRequests));
  const rounds: Round[] = [];
  const start = performance.now();
  do rounds.push(await attack(base));
  while (performance.now() - start < Number(values.minutes) * 60_000);
  const sum = (of: (round: Round) => number) => rounds.reduce((total, one) => total + of(one), 0);
  const refused = {
    tried: sum(({ refused }) => refused.tried),
    rightly: sum(({ refused }) => refused.rightly),
  };
  const good = {
    tried: sum(({ good }) => good.tried),
    answered: sum(({ good }) => good.answered),
    askedAgain: sum(({ good }) => good.askedAgain),
  };
  const attacked = p95(rounds.flatMap(({ good }) => good.seconds));
  const memoryMb = rounds.map(({ peakMb }) => peakMb);
  const settled = memoryMb.slice(Math.ceil(memoryMb.length / 5));
  const growth = Number(trend(settled).toFixed(1));
  const result = {
    name: "attack",
    tried: good.tried + refused.tried,
    good,
    malformed: refused,
    p95Seconds: { quiet: p95(quiet.result.seconds), attacked },
    ratio: Number((attacked / p95(quiet.result.seconds)).toFixed(2)),
    longestHealthStallSeconds: {
      quiet: quiet.stall,
      attacked: Math.max(...rounds.map(({ stall }) => stall)),
    },
    peakMb: { quiet: quiet.peakMb, attacked: Math.max(...memoryMb) },
    minutes: Number(((performance.now() - start) / 60_000).toFixed(1)),
    /** Peaks of the rounds of the attack, and by how much a straight line through them rises in all. */
    memoryMb,
    growthMb: growth,
  };
  console.log(values.json ? JSON.stringify(result) : JSON.stringify(result, null, 2));
  const isFlat = growth < 0.1 * (settled[0] ?? Infinity);
  if (good.answered < good.tried || refused.rightly < refused.tried || !isFlat)
    process.exitCode = 1;
}

interface Round {
  readonly good: Good;
  readonly refused: { readonly tried: number; readonly rightly: number };
  readonly stall: number;
  readonly peakMb: number;
}

/** All of it once: good clients, connections that never read, malformed requests. */
async function attack(base: string): Promise<Round> {
  const stuck = await Promise.all(
    Array.from({ length: Number(values.stuck) }, () => neverReads(base)),
  );
  const { result, stall, peakMb } = await watched(base, () =>
    Promise.all([
      clients(base, numClients, numRequests),
      malformed(base, Number(values.malformed)),
    ]),
  );
  for (const socket of stuck) socket.destroy();
  const [good, refused] = result;
  return { good, refused, stall, peakMb };
}

/** What the least-squares line through values at equal distances rises from the first to the last. */
function trend(values: readonly number[]): number {
  const n = values.length;
  if (n < 2) return 0;
  const middle = (n - 1) / 2;
  const mean = values.reduce((total, value) => total + value, 0) / n;
  let along = 0;
  let square = 0;
  for (const [i, value] of values.entries()) {
    along += (i - middle) * (value - mean);
    square += (i - middle) ** 2;
  }
  return (along / square) * (n - 1);
}

/** Where the server listens, as its first line says. */
async function serverUrl(): Promise<string> {
  for await (const line of createInterface({ input: child.stdout }))
    return z.looseObject({ url: z.string() }).parse(JSON.parse(line)).url;
  throw new Error("the server ended before it listened");
}

interface Good {
  readonly tried: number;
  answered: number;
  askedAgain: number;
  readonly seconds: number[];
}

/** `count` clients side by side, each with `each` questions one after the other. */
async function clients(base: string, count: number, each: number): Promise<Good> {
  const good: Good = { tried: count * each, answered: 0, askedAgain: 0, seconds: [] };
  const urls = await Promise.all(Array.from({ length: 16 }, (_, i) => picture(i)));
  const client = async (c: number) => {
    for (let i = 0; i < each; i++) {
      const image_url = { url: urls[(c + i) % urls.length] };
      const text = `which digit is on the red star number ${c * each + i}?`;
      const content = [
        { type: "image_url", image_url },
        { type: "text", text },
      ];
      const messages = [{ role: "user", content }];
      const body = JSON.stringify({ model: "nano", messages, max_tokens: 16, seed: i });
      const start = performance.now();
      for (let again = 0; again < 50; again++) {
        const status = await post(base, body);
        if (status === 200) good.answered++;
        if (status !== 429 && status !== 503) break;
        good.askedAgain++;
        await sleep(1000); // as Retry-After says
      }
      good.seconds.push((performance.now() - start) / 1000);
    }
  };
  await Promise.all(Array.from({ length: count }, (_, c) => client(c)));
  return good;
}

async function picture(seed: number): Promise<string> {
  const random = stream(seed, "attack");
  const side = 448;
  const data = Uint8Array.from({ length: side * side * 3 }, () => random.int(0, 255));
  const png = await sharp(data, { raw: { width: side, height: side, channels: 3 } })
    .jpeg()
    .toBuffer();
  return `data:image/jpeg;base64,${png.toString("base64")}`;
}

/** Asks for a long stream of many choices and reads nothing of it. */
function neverReads(base: string): Promise<Socket> {
  const { port, hostname } = new URL(base);
  const messages = [{ role: "user", content: "count" }];
  const wishes = { stream: true, n: 16, logprobs: true, max_tokens: 4000 };
  const body = JSON.stringify({ model: "nano", messages, ...wishes });
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname, () => {
      socket.pause();
      socket.write(
        `POST /v1/chat/completions HTTP/1.1\r\nHost: ${hostname}\r\nContent-Type: application/json\r\n` +
          `Content-Length: ${body.length}\r\n\r\n${body}`,
      );
      resolve(socket);
    });
    socket.once("error", reject);
    socket.on("error", () => undefined);
  });
}

/** Requests that have to be refused, a few at a time; how many were, with a status of 4xx. */
async function malformed(base: string, count: number): Promise<{ tried: number; rightly: number }> {
  const svg = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"/>').toString("base64");
  const bomb = await sharp({
    create: { width: 7000, height: 7000, channels: 3, background: "white" },
  })
    .png()
    .toBuffer();
  const image = (data: string) => [
    { type: "image_url", image_url: { url: `data:image/png;base64,${data}` } },
  ];
  const user = (content: unknown) =>
    JSON.stringify({ model: "nano", messages: [{ role: "user", content }] });
  const kinds = [
    "{",
    `{"model":"nano","messages":[${"1,".repeat(200_000)}1]}`,
    "[".repeat(100_000),
    `{${'"a":1,'.repeat(200_000)}"a":1}`,
    user("a".repeat(4_000_000)),
    user("<|im_end|>"),
    user(image(svg)),
    user(image(bomb.toString("base64"))),
    user(image("AAAA")),
    JSON.stringify({ model: "nano", messages: [] }),
    JSON.stringify({ model: "nano", messages: [{ role: "user", content: "a" }], n: 1e9 }),
  ];
  const statuses: number[] = [];
  let next = 0;
  const sender = async () => {
    while (next < count) statuses.push(await post(base, kinds[next++ % kinds.length]));
  };
  await Promise.all(Array.from({ length: 8 }, sender));
  const rightly = statuses.filter((status) => status >= 400 && status < 500).length;
  return { tried: statuses.length, rightly };
}

/** The status of an answer that was read to its end; 0 where the connection broke. */
async function post(base: string, body: string): Promise<number> {
  try {
    const headers = { "content-type": "application/json" };
    const response = await fetch(`${base}/chat/completions`, { method: "POST", headers, body });
    await response.text();
    return response.status;
  } catch {
    return 0;
  }
}

/** What `work` gives, the longest that `/health` was silent meanwhile, and the server's memory. */
async function watched<T>(base: string, work: () => Promise<T>) {
  let isDone = false;
  let stall = 0;
  let peakMb = 0;
  const health = base.replace(/v1$/, "health");
  const watch = async () => {
    while (!isDone) {
      const start = performance.now();
      await (await fetch(health)).text();
      stall = Math.max(stall, (performance.now() - start) / 1000);
      peakMb = Math.max(peakMb, residentMb());
      await sleep(50);
    }
  };
  const watching = watch();
  const result = await work();
  isDone = true;
  await watching;
  return { result, stall: Number(stall.toFixed(3)), peakMb };
}

/** Memory of the server's process; 0 where the system does not say. */
function residentMb(): number {
  try {
    const status = readFileSync(`/proc/${child.pid}/status`, "utf8");
    return Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024);
  } catch {
    return 0;
  }
}

function p95(seconds: readonly number[]): number {
  const sorted = seconds.toSorted((a, b) => a - b);
  return Number((sorted[Math.floor(0.95 * (sorted.length - 1))] ?? 0).toFixed(3));
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
