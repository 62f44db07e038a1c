/** Model folders: weights as safetensors, and each JSON file beside them. */
import { readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { readModelConfig } from "../../../src/model/folder.ts";
import { loadEpisodeConfig } from "../../../src/task/episode-config.ts";
import { openSafetensors } from "../../../src/torch/safetensors.ts";
import { scope } from "../../../src/torch/scope.ts";
import { mutateBytes, mutateValue } from "../mutate.ts";
import type { Target } from "../target.ts";

const nano = new URL("../../../models/nano/", import.meta.url).pathname;
const tensors = smallFile({ a: [2, 3], b: [4], c: [] });

/** A safetensors file of float32 tensors. */
function smallFile(shapes: Readonly<Record<string, readonly number[]>>): Buffer {
  let end = 0;
  const entries = Object.entries(shapes).map(([name, shape]) => {
    const start = end;
    end += shape.reduce((product, n) => product * n, 4);
    return [name, { dtype: "F32", shape, data_offsets: [start, end] }];
  });
  const header = Buffer.from(JSON.stringify(Object.fromEntries(entries)));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  return Buffer.concat([length, header, Buffer.alloc(end, 1)]);
}

export const safetensors: Target = {
  name: "safetensors",
  extension: ".safetensors",
  input: (random) => mutateBytes(tensors, random),
  run: async (file) => {
    await Promise.resolve();
    const opened = openSafetensors(file);
    try {
      scope(() => void opened.names.map((name) => opened.read(name)));
    } finally {
      opened.close();
    }
  },
};

const files = ["config.json", "preprocessor_config.json", "tokenizer_config.json"];
const texts = new Map(files.map((name) => [name, readFileSync(join(nano, name), "utf8")]));

/** Templates and rules that loop, grow or cannot be; each is one file of a folder. */
const twice = { type: "Replace", pattern: { String: "a" }, content: "aa" };
const rules = [
  { normalizer: { type: "Sequence", normalizers: Array<unknown>(50).fill(twice) } },
  { pre_tokenizer: { type: "Split", pattern: { Regex: "(((" }, behavior: "Isolated" } },
  { pre_tokenizer: { type: "Unheard" } },
  { model: { type: "BPE", vocab: { a: 0, b: 2 ** 40 }, merges: [] } },
];
const grown = (seed: string) =>
  `{% set n = namespace(x=${seed}) %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}`;
const hostile = [
  ["chat_template.jinja", "{% for i in range(1000000000) %}x{% endfor %}"],
  ["chat_template.jinja", grown('"ab"')],
  ["chat_template.jinja", grown("[1, 2]")],
  ["chat_template.jinja", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"],
  ["chat_template.jinja", "{{ messages"],
  ...rules.map((rule) => [
    "tokenizer.json",
    JSON.stringify({
      ...(JSON.parse(readFileSync(join(nano, "tokenizer.json"), "utf8")) as object),
      ...rule,
    }),
  ]),
];

/** One file of the nano model's folder is another; the input is its name, a line feed, and its text. */
export const modelFolder: Target = {
  name: "model-folder",
  extension: ".txt",
  input: (random) => {
    if (random.chance(0.1)) return Buffer.from(random.pick(hostile).join("\n"));
    const name = random.pick(files);
    const text = texts.get(name)!;
    const changed = random.chance(0.3)
      ? mutateBytes(Buffer.from(text), random)
      : Buffer.from(JSON.stringify(mutateValue(JSON.parse(text), random)));
    return Buffer.concat([Buffer.from(`${name}\n`), changed]);
  },
  run: async (file, input) => {
    const folder = dirname(file);
    const end = Buffer.from(input).indexOf(10);
    const changed = Buffer.from(input.subarray(0, end)).toString();
    for (const name of ["tokenizer.json", ...files])
      if (name !== changed) symlinkSync(join(nano, name), join(folder, name));
    writeFileSync(join(folder, changed), input.subarray(end + 1));
    await readModelConfig(folder);
    await loadEpisodeConfig(folder);
  },
};
