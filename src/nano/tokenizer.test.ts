import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { stream } from "../core/random.ts";
import { ChatFormat } from "../text/chat.ts";
import { Tokenizer } from "../text/tokenizer.ts";
import { chatKinds, makeChat } from "./chats.ts";
import { writeNanoFolder } from "./model-folder.ts";
import { sightAt } from "./sights.ts";
import { buildTokenizer, chatTemplate, tokenizerConfig } from "./tokenizer.ts";
import { WordEncoder } from "./word-encoder.ts";
import { colourNames, relations, shapeNames } from "./world.ts";

const tokenizer = new Tokenizer(buildTokenizer().json, tokenizerConfig(), "nano");
const chats = chatKinds.flatMap((kind) =>
  [0, 1, 2].map((i) => {
    const parts = makeChat(kind, sightAt("train", 1, i), stream(1, kind, i), {
      chance: 1,
      form: 1,
    });
    return parts.map((part) => (part.type === "text" ? part.text : "<|image_pad|>")).join("");
  }),
);

test("every word of the world is one token, with and without a blank", () => {
  for (const word of [...colourNames, ...shapeNames, ...relations])
    for (const text of [word, ` ${word}`]) expect(tokenizer.encode(text)).toHaveLength(1);
  expect(tokenizer.encode("57")).toHaveLength(2);
  expect(tokenizer.vocabSize).toBeLessThan(700);
});

test("any text survives", () => {
  for (const text of [...chats, "naïve 日本語 👩‍👩‍👧", "  a\r\n\tb ", ""])
    expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
});

test("the fast encoder writes the tokenizer's ids", () => {
  const encoder = new WordEncoder(tokenizer);
  for (const chat of chats) expect(encoder.encode(chat)).toEqual(tokenizer.encode(chat));
});

test("conversations are rendered by the template as training writes them", () => {
  const format = new ChatFormat(tokenizer, chatTemplate, "nano");
  const [first, second] = chats
    .filter((chat) => chat.includes("search_coordinate"))[0]
    .split("<|im_end|>\n<|im_start|>assistant\n");
  const question = first.replace(/^[^?]*<\|vision_end\|>/, "");
  const prompt = format.renderPrompt(
    [{ role: "user", content: [{ type: "image" }, { type: "text", text: question }] }],
    { addGenerationPrompt: true },
  );
  const text = prompt.map((piece) => (piece.type === "text" ? piece.text : "<|image_pad|>"));
  expect(text.join("")).toBe(`${first}<|im_end|>\n<|im_start|>assistant\n`);
  expect(second).toMatch(/<\/tool_call><\|im_end\|>\n<\|im_start\|>user\n<observation>\n/);
});

const python = join(homedir(), ".cache/vigorl/peers/bin/python");

test.skipIf(!existsSync(python))(
  "transformers gives the same ids",
  { timeout: 120_000 },
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "nano-tokenizer-"));
    await writeNanoFolder(folder);
    const script =
      "import sys, json\nfrom transformers import AutoTokenizer\n" +
      "t = AutoTokenizer.from_pretrained(sys.argv[1])\n" +
      "print(json.dumps([t(s)['input_ids'] for s in json.loads(sys.stdin.read())]))";
    const texts = [...chats, "Hello, wide world 42!", "naïve 日本語"];
    const output = execFileSync(python, ["-c", script, folder], {
      input: JSON.stringify(texts),
      stdio: ["pipe", "pipe", "ignore"],
    });
    const lines = output.toString().trim().split("\n");
    expect(JSON.parse(lines[lines.length - 1])).toEqual(
      texts.map((text) => tokenizer.encode(text)),
    );
  },
);
