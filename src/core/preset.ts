/** Presets of a config section: `profile: paper` fills in what is not written. */

/** Lays the written keys of a section over the preset that its `profile` names. */
export function withPreset(input: unknown, presets: Readonly<Record<string, object>>): unknown {
  if (!isSection(input)) return input;
  const { profile } = input;
  const isKnown = typeof profile === "string" && Object.hasOwn(presets, profile);
  return isKnown ? laidOver(input, presets[profile]) : input;
}

/** The written keys over those of a preset, and so in the sections that both have. */
export function laidOver(written: object, preset: object): object {
  const merged: Record<string, unknown> = { ...preset, ...written };
  for (const [key, value] of Object.entries(preset)) {
    const own: unknown = (written as Record<string, unknown>)[key];
    if (isSection(own) && isSection(value)) merged[key] = laidOver(own, value);
  }
  return merged;
}

export function isSection(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
