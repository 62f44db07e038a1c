/** An ablation for people: its claims first, then every arm, what searches found, and curves. */
import { curvesSvg, type CurvePanel } from "../core/curves.ts";
import { markdownCode, markdownTable, markdownText } from "../core/plain-text.ts";
import { formatDuration } from "../core/progress.ts";
import { interval, percent, signed } from "../eval/report-figures.ts";
import type { Ablation } from "./ablation.ts";
import { curveOf, verdicts, type Results } from "./results.ts";

export interface AblationHead {
  readonly command: string;
  readonly versions: Readonly<Record<string, string>>;
  readonly gitCommit: string | null;
}

export function ablationMarkdown(ablation: Ablation, head: AblationHead, results: Results): string {
  const { arms, findings, searches, stages, open } = results;
  const seconds = stages.reduce((sum, stage) => sum + stage.seconds * stage.seeds, 0);
  const counts = verdicts.map(
    (one) => `${findings.filter(({ verdict }) => verdict === one).length} ${one}`,
  );
  const lines = [
    `# ${markdownText(ablation.name)}`,
    "",
    `Written by ${markdownCode(head.command)}, ${head.gitCommit ?? "outside a checkout"}; seeds ${ablation.seeds.join(", ")}; ${formatDuration(seconds)} of training and search in all. Accuracies are means over seeds; intervals are at 95 %, by bootstrap over seeds and questions, with one seed over its questions alone.`,
    "",
    "## Claims",
    "",
    `${counts.join(", ")}.${open.length === 0 ? "" : ` Not run: ${open.map(markdownText).join("; ")}.`}`,
    "",
    ...markdownTable(
      [
        ["claim", "compared", "on", "seeds", "difference", "95 % interval", "by seed", ""],
        ...findings.map((one) => [
          one.claim,
          `${one.arm} − ${one.against}`,
          one.tasks.join(", "),
          String(one.seeds.length),
          signed(one.difference),
          `${signed(one.ci95[0])} to ${signed(one.ci95[1])}`,
          one.bySeed.map(signed).join(", "),
          one.verdict,
        ]),
      ],
      3,
    ),
    "",
    "## Arms",
    "",
    ...markdownTable(
      [
        ["arm", "task", "seeds", "questions", "accuracy", "95 % interval", "looks", "tokens"],
        ...arms.map((one) => [
          one.arm,
          one.task,
          String(one.seeds.length),
          String(one.questions),
          percent(one.accuracy),
          interval(one.ci95),
          one.looks.toFixed(2),
          one.tokens.toFixed(0),
        ]),
      ],
      2,
    ),
  ];
  if (searches.length > 0)
    lines.push(
      "",
      "## Search beside plain samples",
      "",
      "Questions with a right answer among: one sample, three, as many as the tokens of the tree pay for, and the tree.",
      "",
      ...markdownTable(
        [
          ["search", "task", "seeds", "one", "three", "equal tokens", "tree", "tokens a tree"],
          ...searches.map((one) => [
            one.arm,
            one.task,
            String(one.seeds.length),
            ...[one.one, one.three, one.equalTokens, one.search].map(percent),
            one.tokensPerTree.toFixed(0),
          ]),
        ],
        2,
      ),
    );
  lines.push(
    "",
    "## What was done",
    "",
    ...markdownTable(
      [
        ["arm", "seeds", "time", "counts, mean of the seeds"],
        ...stages.map(({ arm, seeds, seconds: took, notes }) => [
          arm,
          String(seeds),
          formatDuration(took),
          Object.entries(notes)
            .map(([name, value]) => `${Number(value.toFixed(1))} ${name}`)
            .join(", "),
        ]),
      ],
      1,
    ),
    "",
    "![Curves of GRPO by arm, means over seeds](curves.svg)",
  );
  return `${lines.join("\n")}\n`;
}

const shownMetrics = {
  reward: "reward",
  accuracy: "accuracy",
  toolUsesPerEpisode: "looks an episode",
  distinctPoints: "places an episode",
  episodeTokens: "tokens an episode",
  entropy: "entropy, nats",
} as const;

/** Every arm of GRPO, a panel a metric; values are means of ten steps. */
export async function drawAblation(ablation: Ablation, run: string): Promise<string> {
  const arms = Object.entries(ablation.arms).flatMap(([name, arm]) =>
    arm.do === "rl" ? [name] : [],
  );
  const panels: CurvePanel[] = [];
  for (const [metric, title] of Object.entries(shownMetrics)) {
    const lines = [];
    for (const name of arms) {
      const points = smoothed(await curveOf(ablation, run, name, metric));
      if (points.length > 0) lines.push({ name, points });
    }
    const last = Math.max(1, ...lines.flatMap(({ points }) => points.map(([step]) => step)));
    if (lines.length > 0) panels.push({ title, lines, last });
  }
  return curvesSvg(panels);
}

function smoothed(points: readonly (readonly [number, number])[]): [number, number][] {
  const width = 10;
  const means: [number, number][] = [];
  for (let i = 0; i < points.length; i += width) {
    const some = points.slice(i, i + width);
    const mean = some.reduce((sum, [, value]) => sum + value, 0) / some.length;
    means.push([some[some.length - 1][0], mean]);
  }
  return means;
}
