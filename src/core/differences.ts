/** Where two JSON values differ, told as one would tell it to the owner of a recipe. */

/** `rl.groupSize was 8, is 4` for each key that differs, deepest keys, in the order of the first. */
export function differencesOf(before: unknown, now: unknown, path = ""): string[] {
  if (isObject(before) && isObject(now)) {
    const keys = new Set([...Object.keys(before), ...Object.keys(now)]);
    return [...keys].flatMap((key) =>
      differencesOf(before[key], now[key], path === "" ? key : `${path}.${key}`),
    );
  }
  const [was, is] = [before, now].map((value) => JSON.stringify(value) ?? "absent");
  return was === is ? [] : [`${path} was ${short(was)}, is ${short(is)}`];
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function short(text: string): string {
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}
