/** What the server did, in the text form of Prometheus. Names are fixed; docs/serve.md lists them. */
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { Answer } from "../task/question.ts";
import type { Admission } from "./admission.ts";

export class ServerMetrics {
  private readonly registry = new Registry();
  private readonly requests: Counter;
  private readonly seconds: Histogram;
  private readonly tokens: Counter;
  private readonly answers: Counter;
  private readonly toolUses: Counter;

  constructor(admission: Pick<Admission, "numRunning" | "heldBytes">) {
    const registers = [this.registry];
    this.requests = new Counter({
      name: "vigorl_requests_total",
      help: "Requests, by place and status.",
      labelNames: ["path", "status"],
      registers,
    });
    this.seconds = new Histogram({
      name: "vigorl_request_seconds",
      help: "Time from a request to the end of its answer.",
      labelNames: ["path"],
      buckets: [0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300],
      registers,
    });
    this.tokens = new Counter({
      name: "vigorl_tokens_total",
      help: "Tokens that the model wrote.",
      registers,
    });
    this.answers = new Counter({
      name: "vigorl_answers_total",
      help: "Questions that the server played, by how they ended.",
      labelNames: ["stop_reason"],
      registers,
    });
    this.toolUses = new Counter({
      name: "vigorl_tool_uses_total",
      help: "Tools that were used in them.",
      labelNames: ["tool"],
      registers,
    });
    const gauge = (name: string, help: string, value: () => number) =>
      new Gauge({
        name,
        help,
        registers,
        collect() {
          this.set(value());
        },
      });
    gauge("vigorl_requests_running", "Requests at work or waiting.", () => admission.numRunning);
    gauge(
      "vigorl_held_bytes",
      "Bytes of bodies and pictures of all requests.",
      () => admission.heldBytes,
    );
    gauge("vigorl_resident_bytes", "Memory of the process.", () => process.memoryUsage.rss());
  }

  /** @param path one of the server's own; whatever else was asked for is "other" */
  request(path: string, status: number, seconds: number): void {
    this.requests.inc({ path, status });
    this.seconds.observe({ path }, seconds);
  }

  wrote(numTokens: number): void {
    this.tokens.inc(numTokens);
  }

  answer({ stopReason, trajectory: { numTokens, toolUses } }: Answer): void {
    this.wrote(numTokens.model);
    this.answers.inc({ stop_reason: stopReason });
    for (const { tool } of toolUses) this.toolUses.inc({ tool: tool ?? "none" });
  }

  async text(): Promise<{ readonly body: string; readonly type: string }> {
    return { body: await this.registry.metrics(), type: this.registry.contentType };
  }
}
