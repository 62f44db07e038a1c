/**
 * What a server can do beyond the common protocol. Servers name themselves in their list of models
 * (`owned_by`), so the dialect is found out rather than asked for; a server that names itself
 * otherwise is taken to know the common protocol only.
 */
import { z } from "zod";

export const dialectNames = ["vigorl", "vllm", "sglang", "llamacpp", "openai", "plain"] as const;
export type DialectName = (typeof dialectNames)[number];

export interface Dialect {
  readonly name: DialectName;
  /** An open assistant message: continued when asked, always continued when last, or never. */
  readonly continues: "asked" | "always" | "never";
  readonly topK: boolean;
  /** Token ids of prompt and reply: promised, given by newer versions, or not there. */
  readonly ids: "given" | "maybe" | "never";
  /**
   * Takes the prompt's own ids beside the messages, so that nothing is tokenised again.
   */
  readonly isOurs: boolean;
  /** Keeps a stop string in the text on this request; without, stop strings are looked for here. */
  readonly keepStop: Readonly<Record<string, boolean>> | null;
  readonly maxTokensKey: "max_tokens" | "max_completion_tokens";
  /** Says at the end of a stream how many tokens it counts, when asked. */
  readonly tellsUsage: boolean;
}

const common = {
  topK: true,
  isOurs: false,
  keepStop: null,
  maxTokensKey: "max_tokens",
  tellsUsage: true,
} as const;

export const dialects: Readonly<Record<DialectName, Dialect>> = {
  vigorl: {
    ...common,
    name: "vigorl",
    continues: "asked",
    ids: "given",
    isOurs: true,
    keepStop: { include_stop_str_in_output: true },
  },
  vllm: {
    ...common,
    name: "vllm",
    continues: "asked",
    ids: "given",
    keepStop: { include_stop_str_in_output: true },
  },
  sglang: {
    ...common,
    name: "sglang",
    continues: "asked",
    ids: "maybe",
    keepStop: { no_stop_trim: true },
  },
  llamacpp: { ...common, name: "llamacpp", continues: "always", ids: "never" },
  openai: {
    ...common,
    name: "openai",
    continues: "never",
    topK: false,
    ids: "never",
    maxTokensKey: "max_completion_tokens",
  },
  plain: {
    ...common,
    name: "plain",
    continues: "never",
    topK: false,
    ids: "never",
    tellsUsage: false,
  },
};

/** `GET /models`, as far as it matters here. */
export const modelListSchema = z.looseObject({
  data: z.array(
    z.looseObject({
      id: z.string(),
      owned_by: z.string().nullish(),
      max_model_len: z.int().positive().nullish(),
    }),
  ),
});
export type ModelList = z.infer<typeof modelListSchema>;

/** The dialect of the server that lists a model as owned by `owner`. */
export function dialectOf(owner: string | null | undefined): Dialect {
  const name = dialectNames.find((known) => known === owner);
  return dialects[owner === "system" ? "openai" : (name ?? "plain")];
}
