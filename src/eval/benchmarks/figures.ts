/** How scores of questions become the figures that are printed: means over questions, and over groups. */
import type { Figure, Figures, Scored } from "./benchmark.ts";

/** Which group a question belongs to; null for none. */
export type GroupOf = (scored: Scored) => string | null;

export const byCategory: GroupOf = ({ record }) => record.category ?? null;

/** Mean over all questions, then over those of each group. */
export function micro(groupOf: GroupOf = byCategory, name = "overall"): Figures {
  return (scored) => [microFigure(name, scored), ...groupFigures(scored, groupOf)];
}

/** Mean of the means of groups, then mean over all questions, then each group. */
export function macro(groupOf: GroupOf = byCategory, name = "overall"): Figures {
  return (scored) => [
    macroFigure(`${name} (mean of groups)`, scored, groupOf),
    microFigure(`${name} (mean of questions)`, scored),
    ...groupFigures(scored, groupOf),
  ];
}

/** Several lists of figures one behind the other. */
export function joined(...parts: readonly Figures[]): Figures {
  return (scored) => parts.flatMap((part) => part(scored));
}

/** Figures of a part of the questions; none where the part is empty. */
export function only(isIn: (scored: Scored) => boolean, figures: Figures): Figures {
  return (scored) => {
    const part = scored.filter(isIn);
    return part.length === 0 ? [] : figures(part);
  };
}

export function microFigure(name: string, scored: readonly Scored[]): Figure {
  return { name, value: meanOf(scored), n: scored.length, mean: "micro" };
}

export function macroFigure(name: string, scored: readonly Scored[], groupOf: GroupOf): Figure {
  const groups = [...grouped(scored, groupOf).values()];
  const value = groups.reduce((sum, group) => sum + meanOf(group), 0) / Math.max(1, groups.length);
  return { name, value, n: groups.length, mean: "macro" };
}

/** A figure for each group, in the order of their names; none where all are in one. */
export function groupFigures(scored: readonly Scored[], groupOf: GroupOf): Figure[] {
  const groups = [...grouped(scored, groupOf)].sort(([a], [b]) => (a < b ? -1 : 1));
  return groups.length < 2 ? [] : groups.map(([name, group]) => microFigure(name, group));
}

export function grouped(scored: readonly Scored[], groupOf: GroupOf): Map<string, Scored[]> {
  const groups = new Map<string, Scored[]>();
  for (const one of scored) {
    const key = groupOf(one);
    if (key === null) continue;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [one]);
    else group.push(one);
  }
  return groups;
}

/** The mean of the verdicts; 0 without questions. */
export function meanOf(scored: readonly Scored[]): number {
  return scored.reduce((sum, { verdict }) => sum + verdict.score, 0) / Math.max(1, scored.length);
}
