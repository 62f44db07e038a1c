/** An ablation for people: its claims first, then every arm, what searches found, and curves. */
import { curvesSvg, type CurvePanel } from "../core/curves.ts";
import { markdownCode, markdownTable, markdownText } from "../core/plain-text.ts";
import { formatDuration } from "../core/progress.ts";
import { interval, percent, signed } from "../eval/report-figures.ts";
import { html, type Html } from "../eval/html.ts";
import { pageHtml } from "../eval/report-html.ts";
import { reportCss } from "../eval/report-style.ts";
import type { Ablation } from "./ablation.ts";
import { curvesOf, verdicts, type Curve, type Results } from "./results.ts";

export interface AblationHead {
  readonly command: string;
  readonly versions: Readonly<Record<string, string>>;
  readonly gitCommit: string | null;
}

/** A part of the page: words, and a table of which so many first columns are words. */
interface Section {
  readonly title: string;
  readonly about: string;
  readonly rows: readonly string[][];
  readonly texts: number;
}

export function ablationMarkdown(ablation: Ablation, head: AblationHead, results: Results): string {
  const lines = [
    `# ${markdownText(ablation.name)}`,
    "",
    `Written by ${markdownCode(head.command)}. ${markdownText(madeOf(ablation, head, results))}`,
    ...sections(results).flatMap(({ title, about, rows, texts }) => [
      "",
      `## ${title}`,
      ...(about === "" ? [] : ["", markdownText(about)]),
      "",
      ...markdownTable(rows, texts),
    ]),
    "",
    "![Curves of GRPO by arm, means over seeds](curves.svg)",
  ];
  return `${lines.join("\n")}\n`;
}

/** The same as a page that needs nothing else; `curves` is the markup of its drawing. */
export function ablationHtml(
  ablation: Ablation,
  head: AblationHead,
  results: Results,
  curves: string,
): string {
  const body = html`<main>
    <header class="top">
      <h1>${ablation.name}</h1>
      <p class="quiet">
        Written by <code>${head.command}</code>. ${madeOf(ablation, head, results)}
      </p>
    </header>
    ${sections(results).map(htmlSection)}
    <section>
      <h2>Curves</h2>
      <img
        class="curves"
        alt="Curves of GRPO by arm, means over seeds"
        src="data:image/svg+xml;base64,${Buffer.from(curves).toString("base64")}"
      />
    </section>
  </main>`;
  return pageHtml(ablation.name, reportCss + css, body);
}

const css = `
.curves{max-width:100%;background:#fff;border-radius:6px}
td.text{white-space:normal;min-width:9em}
.holds{color:var(--right);font-weight:600}.fails{color:var(--wrong);font-weight:600}`;

function htmlSection({ title, about, rows: [header, ...rows], texts }: Section): Html {
  const kind = (column: number) => (column < texts ? "text" : "");
  const tone = (cell: string) =>
    cell === "holds" ? "holds" : cell === "does not hold" ? "fails" : "";
  return html`<section>
    <h2>${title}</h2>
    ${about !== "" && html`<p class="quiet">${about}</p>`}
    <div class="scroll">
      <table>
        <thead>
          <tr>
            ${header.map((cell, i) => html`<th class="${kind(i)}">${cell}</th>`)}
          </tr>
        </thead>
        <tbody>
          ${rows.map(
            (cells) =>
              html`<tr>
                ${cells.map((cell, i) => html`<td class="${kind(i)} ${tone(cell)}">${cell}</td>`)}
              </tr>`,
          )}
        </tbody>
      </table>
    </div>
  </section>`;
}

function madeOf({ seeds }: Ablation, { gitCommit }: AblationHead, { stages }: Results): string {
  const seconds = stages.reduce((sum, stage) => sum + stage.seconds * stage.seeds, 0);
  return `Commit ${gitCommit ?? "none: outside a checkout"}; seeds ${seeds.join(", ")}; ${formatDuration(seconds)} of training and search in all. Accuracies are means over seeds; intervals are at 95 %, by bootstrap over seeds and questions, with one seed over its questions alone.`;
}

function sections(results: Results): Section[] {
  const { arms, findings, searches, stages, trends, open } = results;
  const counts = verdicts.map(
    (one) => `${findings.filter(({ verdict }) => verdict === one).length} ${one}`,
  );
  const all: Section[] = [
    {
      title: "Claims",
      about: `${counts.join(", ")}.${open.length === 0 ? "" : ` Not run: ${open.join("; ")}.`}`,
      texts: 3,
      rows: [
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
    },
    {
      title: "Arms",
      about: "",
      texts: 2,
      rows: [
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
    },
    {
      title: "Search beside plain samples",
      about:
        "Questions with a right answer among: one sample, three, as many as the tokens of the tree pay for, and the tree.",
      texts: 2,
      rows: [
        ["search", "task", "seeds", "one", "three", "equal tokens", "tree", "tokens a tree"],
        ...searches.map((one) => [
          one.arm,
          one.task,
          String(one.seeds.length),
          ...[one.one, one.three, one.equalTokens, one.search].map(percent),
          one.tokensPerTree.toFixed(0),
        ]),
      ],
    },
    trendSection(trends),
    {
      title: "What was done",
      about: "",
      texts: 1,
      rows: [
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
    },
  ];
  return all.filter(({ title, rows }) => title === "Claims" || rows.length > 1);
}

/** What GRPO measured of itself: what it is paid for, beside what it gets right. */
function trendSection(trends: Results["trends"]): Section {
  const names = [...new Set(trends.flatMap(({ metrics }) => Object.keys(metrics)))];
  const terms = names.filter((name) => name.startsWith("reward/"));
  const shown: [name: string, title: string][] = [
    ["reward", "reward"],
    ...terms.map((name): [string, string] => [name, name.slice("reward/".length)]),
    ...Object.entries(shownMetrics).filter(([name]) => name !== "reward"),
  ];
  return {
    title: "Over the steps",
    about:
      "Each arm of GRPO on its training questions, by its own reward and its own rule of what is right: means of the first ten steps → of the last ten.",
    texts: 1,
    rows: [
      ["arm", ...shown.map(([, title]) => title)],
      ...trends.map(({ arm, metrics }) => [
        arm,
        ...shown.map(([name]) => {
          const trend = name in metrics ? metrics[name] : null;
          return trend === null ? "" : trend.map((value) => value.toFixed(2)).join(" → ");
        }),
      ]),
    ],
  };
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
  const curves = new Map<string, Map<string, Curve>>();
  for (const name of arms) curves.set(name, await curvesOf(ablation, run, name));
  const panels: CurvePanel[] = [];
  for (const [metric, title] of Object.entries(shownMetrics)) {
    const lines = [];
    for (const name of arms) {
      const points = smoothed(curves.get(name)?.get(metric) ?? []);
      if (points.length > 0) lines.push({ name, points });
    }
    const last = Math.max(1, ...lines.flatMap(({ points }) => points.map(([step]) => step)));
    if (lines.length > 0) panels.push({ title, lines, last });
  }
  return curvesSvg(panels);
}

function smoothed(points: Curve): [number, number][] {
  const width = 10;
  const means: [number, number][] = [];
  for (let i = 0; i < points.length; i += width) {
    const some = points.slice(i, i + width);
    const mean = some.reduce((sum, [, value]) => sum + value, 0) / some.length;
    means.push([some[some.length - 1][0], mean]);
  }
  return means;
}
