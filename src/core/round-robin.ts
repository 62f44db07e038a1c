/** Choosing evenly: things by group, and one of each group in turn. */

/** Things by key, groups in the order in which their first thing comes. */
export function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return groups;
}

/** The first of each list, then the second of each, and so on. */
export function roundRobin<T>(lists: readonly (readonly T[])[]): T[] {
  const out: T[] = [];
  const longest = lists.reduce((most, { length }) => Math.max(most, length), 0);
  for (let row = 0; row < longest; row++)
    for (const list of lists) if (row < list.length) out.push(list[row]);
  return out;
}

/** One of each group in turn, groups in the order of their names, as long as there are any. */
export function roundRobinBy<T>(items: readonly T[], keyOf: (item: T) => string): T[] {
  const groups = groupBy(items, keyOf);
  return roundRobin([...groups.keys()].sort().map((key) => groups.get(key)!));
}
