/** The page of all recipe keys, as Markdown formatted by prettier. */
import { format } from "prettier";
import { z } from "zod";
import { recipeSchema } from "../src/recipe.ts";

interface Node {
  readonly type?: string | readonly string[];
  readonly properties?: Readonly<Record<string, Node>>;
  readonly description?: string;
  readonly default?: unknown;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly Node[];
  readonly oneOf?: readonly Node[];
  readonly const?: unknown;
  readonly items?: Node;
  readonly minimum?: number;
  readonly exclusiveMinimum?: number;
  readonly maximum?: number;
}

export async function recipePage(): Promise<string> {
  const schema = z.toJSONSchema(recipeSchema, { io: "output", unrepresentable: "any" }) as Node;
  const parts = [HEAD];
  const sections: [string, Node][] = [];
  const top: [string, Node][] = [];
  for (const [key, node] of Object.entries(schema.properties ?? {}))
    (hasKeys(node) || isUnion(node) ? sections : top).push([key, node]);
  parts.push("## Top level", table(top.flatMap(([key, node]) => rows(key, node))));
  for (const [key, node] of sections) {
    parts.push(`## ${key}`, sentence(node.description));
    if (!isUnion(node)) parts.push(keyTable(node));
    for (const option of node.oneOf ?? [])
      parts.push(`### ${key} of ${literalKeys(option)}`, keyTable(option));
  }
  return format(parts.join("\n\n"), { parser: "markdown", printWidth: 100 });
}

function keyTable(node: Node): string {
  return table(Object.entries(node.properties ?? {}).flatMap(([name, child]) => rows(name, child)));
}

function hasKeys({ properties }: Node): boolean {
  return properties !== undefined && Object.keys(properties).length > 0;
}

/** A section of one of several kinds. */
function isUnion({ oneOf }: Node): boolean {
  return oneOf !== undefined && oneOf.every(hasKeys);
}

/** The keys that tell a section of a union apart: `kind: local`. */
function literalKeys({ properties = {} }: Node): string {
  return Object.entries(properties)
    .filter(([, { const: literal }]) => literal !== undefined)
    .map(([key, { const: literal }]) => `\`${key}: ${String(literal)}\``)
    .join(", ");
}

const HEAD = `# Recipes

A recipe is one YAML file that says everything about a run. Every key has a default; an unknown key or a wrong type is an error that names the line. Any key can be set on the command line, \`--rl.groupSize=8\`; values are read as YAML, so lists and null work too: \`--eval.controls="[no-tool]"\`.

The sections belong to the verbs. \`tools\`, \`episode\`, \`prompts\` and \`image\` hold for all of them alike, so that a model is warmed up, trained and evaluated on the same prompts, tools and crops. A verb's \`--help\` lists the keys that it reads, and \`vigorl completion bash\` (zsh, fish) tells them to the shell. Editors check a recipe that begins with \`# yaml-language-server: $schema=path/to/recipes/recipe.schema.json\`.

This page is written by \`scripts/recipe-docs.ts\` from the schemas.`;

function rows(name: string, node: Node): string[] {
  if (hasKeys(node) && node.properties)
    return Object.entries(node.properties).flatMap(([key, child]) => rows(`${name}.${key}`, child));
  const text = (node.description ?? "").replaceAll("|", "\\|");
  return [`| \`${name}\` | ${kind(node)} | ${showDefault(node.default)} | ${text} |`];
}

function sentence(text = ""): string {
  return text === "" ? "" : `${text[0].toUpperCase()}${text.slice(1)}.`;
}

function table(lines: readonly string[]): string {
  return ["| key | value | default | meaning |", "| --- | --- | --- | --- |", ...lines].join("\n");
}

function kind(node: Node): string {
  if (node.const !== undefined) return showDefault(node.const);
  if (isUnion(node)) return "section of a `kind`";
  if (node.enum) return node.enum.map((value) => `\`${String(value)}\``).join(", ");
  if (node.anyOf) return node.anyOf.map(kind).join(" or ");
  if (node.type === "array")
    return `list of ${node.items?.properties ? `{ ${Object.keys(node.items.properties).join(", ")} }` : kind(node.items ?? {})}`;
  const words: Record<string, string> = {
    integer: "whole number",
    string: "text",
    boolean: "true, false",
  };
  if (Array.isArray(node.type))
    return node.type.map((each: string) => words[each] ?? each).join(" or ");
  const type = typeof node.type === "string" ? (words[node.type] ?? node.type) : "any";
  if (node.type !== "integer" && node.type !== "number") return type;
  const bounds = [
    node.minimum !== undefined && node.minimum > -1e15 ? `≥ ${node.minimum}` : "",
    node.exclusiveMinimum !== undefined ? `> ${node.exclusiveMinimum}` : "",
    node.maximum !== undefined && node.maximum < 1e15 ? `≤ ${node.maximum}` : "",
  ].filter((bound) => bound !== "");
  return [type, ...bounds].join(" ");
}

function showDefault(value: unknown): string {
  if (value === undefined) return "";
  return `\`${typeof value === "string" ? value : JSON.stringify(value)}\``;
}
