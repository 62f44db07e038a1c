import { expect, test } from "vitest";
import { formatDuration, Progress, progressLine } from "./progress.ts";

const state = { label: "rl", done: 12, total: 100, unit: "steps", rate: 0.31 };

test("a line begins with the time left, then step, rate and figures", () => {
  expect(progressLine({ ...state, figures: { reward: 0.4216, steps: 3 } })).toBe(
    "4 min 44 s left · rl 12/100 steps · 0.31/s · reward 0.422 · steps 3",
  );
  expect(progressLine({ ...state, done: 100, rate: 20, figures: {} })).toBe(
    "rl 100/100 steps · 20/s",
  );
});

test("what does not fit is left out whole, and time and count never are", () => {
  const figures = { reward: 0.4216, accuracy: 0.5, "tokens/s": 1234 };
  for (let columns = 36; columns < 100; columns++) {
    const line = progressLine({ ...state, figures }, columns);
    expect(line.length).toBeLessThanOrEqual(columns);
    expect(line).toMatch(/^4 min 44 s left · rl 12\/100 steps( · |$)/);
    const whole = progressLine({ ...state, figures }).split(" · ");
    expect(line.split(" · ")).toEqual(whole.slice(0, line.split(" · ").length));
  }
  const long = progressLine({ ...state, label: "eval search of-a-long-name", figures }, 40);
  expect(long).toBe("4 min 44 s left · eval sea… 12/100 steps");
});

test("one unit gives no estimate", () => {
  let text = "";
  const stream = { write: (part: string) => (text += part) };
  const progress = new Progress({ label: "rl", total: 9, done: 4, stream, intervalMs: 0 });
  progress.update(5);
  expect(text).toBe("rl 5/9 steps\n");
});

test("durations", () => {
  expect([3.2, 65, 7800].map(formatDuration)).toEqual(["3 s", "1 min 05 s", "2 h 10 min"]);
});

test("plain streams get lines, terminals one line that is rewritten, quiet ones nothing", () => {
  const run = (options: { isTTY: boolean; quiet?: boolean }): string => {
    let text = "";
    const stream = { isTTY: options.isTTY, columns: 80, write: (part: string) => (text += part) };
    const progress = new Progress({ label: "x", total: 2, quiet: options.quiet ?? false, stream });
    progress.update(1);
    progress.note("hello");
    progress.update(2);
    progress.finish();
    progress.finish();
    return text;
  };
  expect(run({ isTTY: false }).split("\n").length).toBe(4);
  expect(run({ isTTY: false })).not.toContain("\r");
  expect(run({ isTTY: true })).toContain("\r\x1b[2Khello\n");
  expect(run({ isTTY: true, quiet: true })).toBe("");
});

test("a label or a note of a hostile recipe cannot reach the terminal", () => {
  const written: string[] = [];
  const stream = { write: (text: string) => written.push(text) };
  const progress = new Progress({ label: "eval \x1b]0;owned\x07", total: 1, stream });
  progress.update(1, { note: "\x1b[2J" });
  progress.note("server: \x9b31m\u202e");
  progress.finish();
  expect(written.join("")).toContain("eval \ufffd]0;owned\ufffd");
  expect(written.join("")).not.toMatch(/(?!\n)[\p{Cc}\u202e]/u);
});
