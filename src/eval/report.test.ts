import { expect, test } from "vitest";
import { niceTicks, runningMean } from "./report-charts.ts";
import { reportHtml } from "./report-html.ts";
import type { TraceView } from "./report-trace.ts";
import {
  armSchema,
  explained,
  findings,
  reportJson,
  reportMarkdown,
  reportText,
  type Report,
} from "./report.ts";

const hostile = `</p><script>alert(1)</script><img src="https://example.com/x">`;

const report: Report = {
  version: 1,
  title: "a run",
  command: "./vigorl eval",
  createdAt: "2026-01-01",
  facts: { seed: "1" },
  main: "rl-zoom",
  arms: [
    arm("sft", 0.7, { "2 things": 0.8, "5 things": 0.6 }),
    arm("rl-zoom", 0.9, { "2 things": 0.95, "5 things": 0.85 }),
  ],
  comparisons: [
    {
      task: "search",
      arm: "rl-zoom",
      against: "sft",
      difference: 0.2,
      ci95: [0.1, 0.3],
      p: 0.00001,
    },
  ],
  curves: [{ stage: "rl", metric: "reward", steps: [0, 1, 2], values: [0.1, NaN, 0.3] }],
};

const trace: TraceView = {
  recordId: hostile,
  task: "search",
  arm: hostile,
  question: hostile,
  truth: hostile,
  answer: hostile,
  score: 0,
  reward: { [hostile]: 1 },
  stopReason: "answer",
  error: hostile,
  pictures: ["abc"],
  points: [{ picture: 0, x: 3, y: 4, turn: 0 }],
  uses: [
    {
      name: hostile,
      imageHash: "abc",
      fault: null,
      picture: 0,
      draw: (canvas) => canvas.box({ x0: 0, y0: 0, x1: 10, y1: 10 }),
    },
    { name: "call", imageHash: null, fault: "notJson", picture: null, draw: () => {} },
  ],
  turns: [{ author: "model", text: `<think> ${hostile} (3, 4) </think>` }],
};

test("the page escapes everything a model wrote and asks for nothing from outside", () => {
  const images = new Map([
    ["abc", { dataUri: "data:image/png;base64,AAAA", widthPx: 20, heightPx: 20 }],
  ]);
  const page = reportHtml(report, [trace], images);
  expect(page).not.toContain("<script");
  expect(page).not.toContain('src="https');
  expect(page.match(/(?:src|href)="(?!data:|#)/g)).toBeNull();
  expect(page).toContain('<span class="point">(3, 4)</span>');
  expect(page).toContain('href="#iabc"');
  expect(page).toContain('<rect class="use"');
});

test("the main arm stands first, beside its base, where it alone was right before where it failed", () => {
  const view = (recordId: string, name: string, score: number): TraceView => ({
    ...trace,
    recordId,
    arm: name,
    question: `${recordId}?`,
    score,
  });
  const views = ["a", "b", "c"].flatMap((id, i) => [
    view(id, "no-tool", 0),
    view(id, "base", i === 2 ? 0 : 1),
    view(id, "rl-zoom", i === 1 ? 0 : 1),
  ]);
  const page = reportHtml({ ...report, base: "base" }, views, new Map());
  const questions = [...page.matchAll(/<h3>([^<]+)\?<\/h3>/g)].map(([, question]) => question);
  expect(questions).toEqual(["c", "b", "a"]);
  const titles = [...page.matchAll(/<h3 class="group">([^<]+)/g)].map(([, text]) => text.trim());
  expect(titles).toEqual(["rl-zoom was right and base wrong", "rl-zoom was wrong", "The others"]);
  const arms = [...page.matchAll(/data-arm="([^"]+)" data-verdict/g)].map(([, name]) => name);
  expect(arms.slice(0, 3)).toEqual(["rl-zoom", "base", "no-tool"]);
});

test("alarms of training stand with its curves, and in Markdown", () => {
  const alarms = [{ stage: "rl-zoom", step: 40, message: `tool use dies out ${hostile}` }];
  const page = reportHtml({ ...report, alarms }, [], new Map());
  expect(page).toContain("<li>rl-zoom, step 40: tool use dies out &lt;/p&gt;");
  expect(page).not.toContain("<script>");
  expect(reportMarkdown({ ...report, alarms })).toContain(
    "## Alarms of training\n\n- rl-zoom, step 40: tool use dies out",
  );
  expect(reportMarkdown(report)).not.toContain("Alarms");
});

test("curves of one metric share a chart with a legend, and pictures open large without a script", () => {
  const curve = (stage: string, metric: string) => ({
    stage,
    metric,
    steps: [1, 2],
    values: [0, 1],
  });
  const curves = [curve("rl", "reward"), curve("sft", "loss"), curve("rl-single", "reward")];
  const images = new Map([
    ["abc", { dataUri: "data:image/png;base64,AAAA", widthPx: 20, heightPx: 20 }],
  ]);
  const page = reportHtml({ ...report, curves }, [trace], images);
  expect(page.match(/<figure class="curve">/g)).toHaveLength(2);
  expect(page.match(/class="series s\d">[^<]+/g)?.map((one) => one.split(">")[1])).toEqual([
    "rl",
    "rl-single",
    "sft",
  ]);
  const [, shot] = /class="shot" id="([^"]+)"/.exec(page) ?? [];
  expect(page).toContain(`<a class="open" href="#${shot}"`);
});

test("sentences say what was found, and what cannot be told", () => {
  const told = (difference: number, ci95: [number, number], against: string) =>
    findings(
      {
        ...report,
        base: "sft",
        comparisons: [{ task: "search", arm: "rl-zoom", against, difference, ci95, p: 0.1 }],
      },
      "search",
    );
  expect(told(0.2, [0.1, 0.3], "sft")).toEqual([
    "rl-zoom answers 90.0 % of 10 questions right (95 % interval 80.0–95.0).",
    "That is 20.0 points (+10.0 to +30.0) more than sft on the same questions.",
  ]);
  expect(told(0.05, [-0.1, 0.2], "sft")[1]).toBe(
    "From sft it cannot be told apart on these questions: 5.0 points (−10.0 to +20.0).",
  );
  expect(told(0.6, [0.4, 0.7], "crop-blank")[1]).toBe(
    "Under crop-blank (every picture that a tool returns is black) it loses 60.0 points (+40.0 to +70.0).",
  );
  expect(findings({ ...report, main: "nobody" }, "search")).toEqual([]);
  const texts = explained({ armTexts: { sft: "warm" } }, [{ name: "sft" }, { name: "no-image" }]);
  expect(texts).toEqual([
    ["sft", "warm"],
    ["no-image", "the picture is black, and so are its crops"],
  ]);
});

test("JSON keeps the arms as they are", () => {
  const parsed: unknown = JSON.parse(reportJson(report));
  expect((parsed as Report).arms.map((entry) => armSchema.parse(entry))).toEqual(report.arms);
});

test("Markdown and text show every arm", () => {
  const markdown = reportMarkdown(report);
  expect(markdown).toContain("| rl-zoom | 10 | 90.0 % | 80.0–95.0 | 1.00 | 2.0 |");
  expect(markdown).toContain("| rl-zoom | sft | +20.0 | +10.0 to +30.0 | < 0.0001 |");
  expect(markdown).toContain("| rl-zoom | 95.0 % (5) | 85.0 % (5) |");
  const lines = reportText(report).split("\n");
  expect(lines).toHaveLength(4);
  expect(lines[3]).toMatch(/^rl-zoom\s+search\s+10\s+90\.0 %\s+80\.0–95\.0\s+1\.00\s+2$/);
});

test("ticks are round numbers inside the range; running means are means", () => {
  expect(niceTicks(0, 1)).toEqual([0, 0.5, 1]);
  for (const tick of niceTicks(-0.3, 0.9)) expect(tick).toBeCloseTo(Math.round(tick * 10) / 10, 9);
  expect(runningMean([1, 3, 5], 2)).toEqual([1, 2, 4]);
});

function arm(name: string, accuracy: number, categories: Record<string, number>) {
  return {
    name,
    task: "search",
    n: 10,
    accuracy,
    ci95: [accuracy - 0.1, accuracy + 0.05] as [number, number],
    toolUsesPerEpisode: 1,
    seconds: 2,
    categories: Object.fromEntries(
      Object.entries(categories).map(([category, value]) => [
        category,
        { n: 5, accuracy: value, ci95: [value - 0.1, value + 0.05] as [number, number] },
      ]),
    ),
    stopReasons: { answer: 10 },
  };
}

test("what nobody said is markup in no form, and unasked questions are told in each", () => {
  const named = {
    ...arm("a|b\x1b[2J", 0.5, {}),
    unanswered: { count: 2, reason: "p.png\u202e: gone" },
  };
  const odd: Report = { ...report, title: "# *x*\n", command: "a `b`", arms: [named] };
  const markdown = reportMarkdown({ ...odd, comparisons: [] });
  expect(markdown).toContain(String.raw`| a\|b�\[2J | 10 |`);
  expect(markdown).toContain(String.raw`# \# \*x\*`);
  expect(markdown).toContain("`` a `b` ``");
  const page = reportHtml(odd, [], new Map());
  for (const form of [markdown, page, reportText(odd)]) {
    expect(form).toMatch(/2 of 12 questions could not be asked and are not counted: p\.png/);
  }
  for (const form of [markdown, page]) expect(form).not.toMatch(/(?!\n)[\p{Cc}\u202e]/u);
});
