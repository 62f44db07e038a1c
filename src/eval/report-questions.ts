/**
 * The questions of the page with their traces: the trained model stands beside the one it started from,
 * first where it alone was right, then where it failed, then the others. Arms are chosen without a script.
 */
import { html, type Html } from "./html.ts";
import { armKind } from "./report-charts.ts";
import { questionSection, type PageImage, type TraceView } from "./report-trace.ts";
import { explained, type Report } from "./report.ts";

type Arms = Pick<Report, "main" | "base" | "armTexts">;

export function traceSection(
  report: Arms,
  traces: readonly TraceView[],
  images: ReadonlyMap<string, PageImage>,
): Html {
  const arms = armsOf(report, traces);
  const texts = new Map(
    explained(
      report,
      arms.map((name) => ({ name })),
    ),
  );
  const byRecord = new Map<string, TraceView[]>();
  for (const trace of traces) {
    const key = `${trace.task} ${trace.recordId}`;
    byRecord.set(key, [...(byRecord.get(key) ?? []), trace]);
  }
  const groups = groupsOf(report, [...byRecord.values()]);
  let number = 0;
  return html`<section class="traces">
    <h2>What it looked at</h2>
    <p class="quiet">
      The same questions under every arm. Numbers are the order of the points; solid marks are what
      tools looked at, the dashed box is the right place. Choose arms to compare; a picture opens
      large where it is clicked.
    </p>
    <div class="chips">
      ${arms.map(
        (arm, i) =>
          html`<label class="chip ${armKind(arm, report.main)}" title="${texts.get(arm) ?? ""}"
            ><input type="checkbox" id="arm${i}" checked /><span>${arm}</span></label
          >`,
      )}
    </div>
    ${groups.map(
      ({ title, questions }) =>
        html`${title !== null && html`<h3 class="group">${title} <span>${questions.length}</span></h3>`}
        ${questions.map((group) => {
          const ordered = group.toSorted((a, b) => arms.indexOf(a.arm) - arms.indexOf(b.arm));
          return questionSection(ordered, images, ++number, report.main);
        })}`,
    )}
  </section>`;
}

/** Hides the panels of an arm whose box is not ticked. */
export function armFilterCss(report: Arms, traces: readonly TraceView[]): string {
  return armsOf(report, traces)
    .map(
      (arm, i) =>
        `.traces:has(#arm${i}:not(:checked)) [data-arm="${cssString(arm)}"]{display:none}`,
    )
    .join("\n");
}

/** The main arm, the one that it started from, then the others as they come. */
function armsOf({ main, base }: Arms, traces: readonly TraceView[]): string[] {
  const names = [...new Set(traces.map(({ arm }) => arm))];
  const first = [main, base].flatMap((name) =>
    name !== undefined && names.includes(name) ? [name] : [],
  );
  return [...first, ...names.filter((name) => !first.includes(name))];
}

interface QuestionGroup {
  readonly title: string | null;
  readonly questions: readonly (readonly TraceView[])[];
}

/** Where there is nothing to compare with, right questions stand behind wrong ones. */
function groupsOf(
  { main, base }: Arms,
  questions: readonly (readonly TraceView[])[],
): QuestionGroup[] {
  const scoreOf = (group: readonly TraceView[], arm: string | undefined) =>
    group.find((trace) => trace.arm === arm)?.score;
  const isRight = (score: number | undefined) => score !== undefined && score >= 1;
  const gained: (readonly TraceView[])[] = [];
  const failed: (readonly TraceView[])[] = [];
  const others: (readonly TraceView[])[] = [];
  for (const group of questions) {
    const [own, before] = [scoreOf(group, main), scoreOf(group, base)];
    if (own === undefined) others.push(group);
    else if (!isRight(own)) failed.push(group);
    else if (before !== undefined && !isRight(before)) gained.push(group);
    else others.push(group);
  }
  if (gained.length + failed.length === 0) return [{ title: null, questions: others }];
  return [
    { title: `${main} was right and ${base} wrong`, questions: gained },
    { title: `${main} was wrong`, questions: failed },
    { title: base === undefined ? `${main} was right` : "The others", questions: others },
  ].filter((group) => group.questions.length > 0);
}

function cssString(text: string): string {
  return text.replace(/[^\w .:-]/g, (c) => `\\${c.codePointAt(0)!.toString(16)} `);
}
