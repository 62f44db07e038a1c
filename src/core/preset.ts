/** Presets of a config section: `profile: paper` fills in what is not written. */

/** Lays the written keys of a section over the preset that its `profile` names. */
export function withPreset(input: unknown, presets: Readonly<Record<string, object>>): unknown {
  if (typeof input !== "object" || input === null) return input;
  const profile = "profile" in input ? input.profile : undefined;
  return { ...(typeof profile === "string" ? presets[profile] : undefined), ...input };
}
