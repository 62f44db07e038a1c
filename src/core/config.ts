/**
 * Recipes and other YAML files: parsed, overridden from the command line (`--rl.groupSize=8`) and
 * checked against a strict zod schema. Every complaint names the file, the line and the key, what
 * was found, and what to write instead.
 */
import { isUtf8 } from "node:buffer";
import { existsSync, readdirSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import {
  isMap,
  isScalar,
  Lexer,
  LineCounter,
  parse,
  parseDocument,
  Parser,
  type Document,
} from "yaml";
import { z } from "zod";
import { withPathsOf } from "./config-paths.ts";
import { errno, VigorlError } from "./errors.ts";
import { readRegularSync } from "./regular-file.ts";

/** One `--key.path=value`, the value as typed. */
export interface Override {
  readonly path: string;
  readonly value: string;
  /** What paths in the value are relative to; default the current folder. */
  readonly folder?: string;
}

/** Splits `--rl.groupSize=8` into its parts; null where the argument is not of that form. */
export function parseOverride(argument: string): Override | null {
  const match = /^--([A-Za-z][\w-]*(?:\.[\w-]+)*)=(.*)$/s.exec(argument);
  return match ? { path: match[1], value: match[2] } : null;
}

/**
 * Reads a YAML file, applies overrides and parses the result. Paths in it are relative to it; `defaults`
 * stand for its topmost keys that it does not write.
 * @throws VigorlError("usage") for a missing file, bad YAML, an unknown key or a wrong value.
 */
export function loadConfig<S extends z.ZodType>(
  path: string,
  schema: S,
  overrides: readonly Override[] = [],
  defaults: Readonly<Record<string, unknown>> = {},
): z.output<S> {
  return parseConfig(readText(path), path, schema, overrides, dirname(path), defaults);
}

/** The keys that a YAML file itself writes into one of its sections. @throws as `loadConfig` */
export function keysWritten(path: string, section: string): string[] {
  const { value } = parseYaml(readText(path), path);
  const own = isRecord(value) ? value[section] : undefined;
  return isRecord(own) ? Object.keys(own) : [];
}

/**
 * `loadConfig` on text that is already in memory; `source` names it in messages. Its paths are relative
 * to `folder`; those of overrides to the current one, or to what they name.
 */
export function parseConfig<S extends z.ZodType>(
  text: string,
  source: string,
  schema: S,
  overrides: readonly Override[] = [],
  folder = ".",
  defaults: Readonly<Record<string, unknown>> = {},
): z.output<S> {
  const { document, lines, value: own } = parseYaml(text, source);
  const written = isRecord(own) ? { ...defaults, ...own } : own;
  const value = withPathsOf(folder, written, schema);
  const [kinds, others] = partition(overrides, ({ path }) => unionOf(path, schema) !== null);
  for (const override of [...kinds, ...others]) applyOverride(value, override, schema);

  const result = schema.safeParse(value, { reportInput: true });
  if (result.success) return result.data;
  const place = (path: readonly PropertyKey[]) => placeOf(path, source, document, lines, overrides);
  const messages = result.error.issues.flatMap((issue) => describeIssue(issue, schema, place));
  throw new VigorlError(
    "usage",
    messages.length === 1
      ? messages[0]
      : `${source}: ${messages.length} problems\n${messages.map((m) => `  ${m}`).join("\n")}`,
  );
}

/** Text as a document and as a value. What the parser does not understand is an error, warnings too. */
function parseYaml(
  text: string,
  source: string,
): { document: Document; lines: LineCounter; value: unknown } {
  const lines = new LineCounter();
  const bad = (place: string, cause: unknown) =>
    new VigorlError("usage", `${place}: not valid YAML: ${(cause as Error).message}`, { cause });
  let document: Document;
  let value: unknown;
  refuseDepth(text, source);
  try {
    document = parseDocument(text, {
      lineCounter: lines,
      prettyErrors: false,
      logLevel: "error",
    });
    // Aliases that multiply end here.
    value = document.toJS({ maxAliasCount: 100 }) ?? {};
  } catch (error) {
    throw bad(source, error);
  }
  const problem = document.errors[0] ?? document.warnings[0];
  if (problem !== undefined) throw bad(`${source}:${lines.linePos(problem.pos[0]).line}`, problem);
  return { document, lines, value };
}

/** No recipe nests deeper. The parser recurses, and a process whose stack is full may end without an error. */
const maxDepth = 100;

/** @throws VigorlError("usage") naming the line where text nests too deep, before anything recurses */
function refuseDepth(text: string, source: string): void {
  const parser = new Parser();
  let offset = 0;
  for (const token of new Lexer().lex(text)) {
    for (const _ of parser.next(token));
    offset += token.length;
    if (parser.stack.length <= maxDepth) continue;
    const line = text.slice(0, offset).split("\n").length;
    throw new VigorlError("usage", `${source}:${line}: nests deeper than ${maxDepth} levels`);
  }
}

/** The candidate closest to `word` by edits, or undefined where none is near enough to be a slip. */
export function nearestName(word: string, candidates: readonly string[]): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(word.length / 2)) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

/** More than anybody writes by hand. */
const maxRecipeBytes = 1 << 18;

function readText(path: string): string {
  try {
    const bytes = readRegularSync(path, maxRecipeBytes);
    if (isUtf8(bytes)) return bytes.toString("utf8");
    throw new VigorlError("usage", `${path}: is not UTF-8`, { hint: "save the file as UTF-8" });
  } catch (error) {
    if (error instanceof VigorlError && errno(error.cause) === "ENOENT") {
      throw new VigorlError("usage", `${path}: no such file`, {
        hint: `${nearFile(path)}name an existing recipe; the ones that come with vigorl are in recipes/`,
        cause: error,
      });
    }
    throw error;
  }
}

/** The file beside a missing one that was likely meant, as a question; "" where there is none. */
function nearFile(path: string): string {
  const folder = dirname(path);
  const names = existsSync(folder) ? readdirSync(folder) : [];
  const recipes = names.filter((name) => /\.ya?ml$/i.test(name));
  const stem = (name: string) => name.replace(/\.\w+$/, "");
  const wanted = basename(path);
  const near = recipes.find((name) => stem(name) === stem(wanted)) ?? nearestName(wanted, recipes);
  return near === undefined ? "" : `did you mean ${join(folder, near)}? Else `;
}

/** Writes an override into the parsed tree; keys that do not exist are left for the schema to refuse. */
function applyOverride(root: unknown, { path, value, folder }: Override, schema: z.ZodType): void {
  const keys = path.split(".");
  let node = root;
  for (const [depth, key] of keys.slice(0, -1).entries()) {
    if (!isRecord(node)) break;
    if (!Object.hasOwn(node, key) || node[key] === null) setOwn(node, key, {});
    node = node[key];
    if (typeof node !== "object" || node === null) {
      const parent = keys.slice(0, depth + 1).join(".");
      throw new VigorlError("usage", `--${path}=${value}: ${parent} has no keys of its own`);
    }
  }
  if (!isRecord(node)) throw new VigorlError("usage", `--${path}=${value}: no such key`);
  // What was written for one kind of section means nothing to another.
  const key = keys[keys.length - 1];
  const union = unionOf(path, schema);
  if (union !== null && (node[key] ?? union.first) !== value)
    for (const other of Object.keys(node)) delete node[other];
  const part = schemaAt(schema, keys);
  const typed = typedValue(value, part);
  const isPlaced = folder !== undefined && part !== undefined;
  setOwn(node, key, isPlaced ? withPathsOf(folder, typed, part) : typed);
}

/** Sets a key of the object itself, `__proto__` too. */
function setOwn(node: Record<string, unknown>, key: string, value: unknown): void {
  Object.defineProperty(node, key, { value, writable: true, enumerable: true, configurable: true });
}

/** The union whose kinds a key tells apart: by default it is of the first kind. Null for other keys. */
function unionOf(path: string, schema: z.ZodType): { readonly first: unknown } | null {
  const keys = path.split(".");
  const section = schemaAt(schema, keys.slice(0, -1));
  const union = section && unwrap(section);
  if (!(union instanceof z.ZodDiscriminatedUnion)) return null;
  if (union.def.discriminator !== keys[keys.length - 1]) return null;
  const [first] = objectsOf(union);
  const kind = first.shape[union.def.discriminator];
  return { first: kind instanceof z.ZodLiteral ? [...kind.values][0] : undefined };
}

function partition<T>(items: readonly T[], test: (item: T) => boolean): [T[], T[]] {
  return [items.filter(test), items.filter((item) => !test(item))];
}

/** Reads a typed-in value as YAML unless the schema wants those characters as text. */
function typedValue(text: string, schema: z.ZodType | undefined): unknown {
  let value: unknown = text;
  try {
    value = parse(text);
  } catch {
    return text;
  }
  if (schema && !schema.safeParse(value).success && schema.safeParse(text).success) return text;
  return value;
}

/** Line and file of a key, or the flag that set it. A key that is absent has its parent's place. */
function placeOf(
  path: readonly PropertyKey[],
  source: string,
  document: Document,
  lines: LineCounter,
  overrides: readonly Override[],
): string {
  const key = path.map(String).join(".");
  const flag = overrides.findLast(
    (o) =>
      o.path === key ||
      key.startsWith(`${o.path}.`) ||
      (key !== "" && o.path.startsWith(`${key}.`)),
  );
  if (flag) return `--${flag.path}=${flag.value}`;
  for (let depth = path.length; depth > 0; depth--) {
    const parent = document.getIn(path.slice(0, depth - 1), true);
    if (!isMap(parent)) continue;
    const pair = parent.items.find((p) => isScalar(p.key) && p.key.value === path[depth - 1]);
    if (pair && isScalar(pair.key) && pair.key.range)
      return `${source}:${lines.linePos(pair.key.range[0]).line}`;
  }
  return source;
}

/** What is wrong with a value, in words for one who wrote it: the key, what was found, what would do. */
export function problemsOf(error: z.ZodError, schema: z.ZodType): string[] {
  return error.issues.flatMap((issue) => {
    const at = issue.path.length === 0 ? "" : `${issue.path.map(String).join(".")}: `;
    const found = "input" in issue ? issue.input : undefined;
    switch (issue.code) {
      case "unrecognized_keys": {
        const options = optionsAt(schema, issue.path.map(String));
        const known = keysOf(options.filter((option) => accepts(option, issue.input)));
        return issue.keys.map(
          (key) => `${at}unknown key ${show(key)}; ${nearestOf(key, known, options)}`,
        );
      }
      case "custom":
        return `${at}${issue.message}`;
      default:
        return found === undefined
          ? `${at}is missing; it must be ${expectation(issue)}`
          : `${at}must be ${expectation(issue)} (got ${show(found)})`;
    }
  });
}

/** A field that went by another name says so: `.meta({ formerly: [name] })`. */
function nearestOf(
  key: string,
  known: readonly string[],
  options: readonly ObjectSchema[],
): string {
  const fields = options.flatMap(({ shape }) => Object.entries(shape));
  const renamed = fields.find(([, field]) => formerNames(field).includes(key));
  const near = renamed?.[0] ?? nearestName(key, known);
  return near === undefined ? `known keys: ${known.join(", ")}` : `did you mean ${near}?`;
}

function describeIssue(
  issue: z.core.$ZodIssue,
  root: z.ZodType,
  place: (path: readonly PropertyKey[]) => string,
): string[] {
  if (issue.code === "unrecognized_keys") {
    const options = optionsAt(root, issue.path.map(String));
    const known = keysOf(options.filter((option) => accepts(option, issue.input)));
    return issue.keys.map((key) => {
      const path = [...issue.path, key];
      const other = options.find((option) => Object.hasOwn(option.shape, key));
      const fix =
        other === undefined ? nearestOf(key, known, options) : `it belongs to ${tellApart(other)}`;
      return `${place(path)}: unknown key ${path.map(String).join(".")}; ${fix}`;
    });
  }
  const name = issue.path.map(String).join(".") || "the file";
  const found = "input" in issue ? issue.input : undefined;
  const got = found === undefined ? "is missing" : `(got ${show(found)})`;
  const schema = schemaAt(root, issue.path.map(String));
  const fallback = schema && defaultOf(schema);
  const fix = fallback === undefined ? "" : `; set it to ${show(fallback)}`;
  if (issue.code === "custom") {
    const where = issue.path.length === 0 ? "" : `${name}: `;
    return [`${place(issue.path)}: ${where}${issue.message}${fix}`];
  }
  if (issue.code === "invalid_union" && issue.errors.length === 0) {
    const key = issue.path[issue.path.length - 1];
    const kinds = optionsAt(root, issue.path.slice(0, -1).map(String)).map(tellApart);
    const written = isRecord(found) ? found[String(key)] : found;
    return [
      `${place(issue.path)}: ${name} must be one of ${kinds.join("; ")} (got ${show(written)})`,
    ];
  }
  const other = issue.code === "invalid_value" && schema && insteadOf(schema, found);
  if (other) return [`${place(issue.path)}: ${name}: ${other}`];
  const text =
    found === undefined && issue.code === "invalid_type"
      ? `${name} is missing; it must be ${expectation(issue)}`
      : `${name} must be ${expectation(issue)} ${got}`;
  return [`${place(issue.path)}: ${text}${fix}`];
}

/** What a value must be, in words that follow "must be". */
function expectation(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case "too_small":
      return bound(issue.inclusive === false ? ">" : "≥", issue.minimum, issue.origin);
    case "too_big":
      return bound(issue.inclusive === false ? "<" : "≤", issue.maximum, issue.origin);
    case "invalid_type": {
      const kinds: Record<string, string> = { int: "a whole number", object: "a section of keys" };
      const vowel = /^[aeiou]/.test(issue.expected) ? "an" : "a";
      return kinds[issue.expected] ?? `${vowel} ${issue.expected}`;
    }
    case "invalid_value":
      return issue.values.length === 1
        ? show(issue.values[0])
        : `one of ${issue.values.map(show).join(", ")}`;
    case "invalid_key":
      return `under a key that is ${issue.issues.map(({ message }) => message).join(" and ")}`;
    case "not_multiple_of":
      return `a multiple of ${issue.divisor}`;
    case "unrecognized_keys":
      return `a section without ${issue.keys.map(show).join(", ")}`;
    case "invalid_union":
      return issue.errors.length > 0
        ? issue.errors.map((option) => option.map(expectation).join(" and ")).join(", or ")
        : "one of the known kinds";
    case "invalid_format":
      return `text of the form ${issue.pattern ?? issue.format}`;
    default:
      return `valid: ${issue.message}`;
  }
}

function bound(sign: string, limit: number | bigint, origin: string): string {
  if (origin === "string") return `text of ${sign} ${limit} characters`;
  if (origin === "array") return `a list of ${sign} ${limit} entries`;
  return `${sign} ${limit}`;
}

function show(value: unknown): string {
  const text =
    typeof value === "string" ? JSON.stringify(value) : (JSON.stringify(value) ?? String(value));
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}

/** The schema under a key path, wrappers removed on the way but not at the end. */
function schemaAt(schema: z.ZodType, keys: readonly string[]): z.ZodType | undefined {
  let node: z.core.$ZodType | undefined = schema;
  for (const key of keys) {
    const inner: z.core.$ZodType = unwrap(node);
    if (inner instanceof z.ZodObject) node = (inner.shape as Record<string, z.core.$ZodType>)[key];
    else if (inner instanceof z.ZodRecord) node = inner.valueType;
    else if (inner instanceof z.ZodArray) node = inner.element;
    else if (inner instanceof z.ZodDiscriminatedUnion)
      node = objectsOf(inner).find((option) => Object.hasOwn(option.shape, key))?.shape[key];
    else node = undefined;
    if (node === undefined) return undefined;
  }
  return node instanceof z.ZodType ? node : undefined;
}

type ObjectSchema = z.ZodObject<Readonly<Record<string, z.core.$ZodType>>>;

/** The sections that may stand at a path: one, or those of a union that a key tells apart. */
function optionsAt(schema: z.ZodType, keys: readonly string[]): ObjectSchema[] {
  const node = schemaAt(schema, keys);
  return node === undefined ? [] : objectsOf(unwrap(node));
}

function objectsOf(schema: z.core.$ZodType): ObjectSchema[] {
  if (schema instanceof z.ZodObject) return [schema as ObjectSchema];
  if (!(schema instanceof z.ZodDiscriminatedUnion)) return [];
  return schema.options.flatMap((option) => objectsOf(unwrap(option)));
}

/** What to do in place of a value that people ask for: `.meta({ instead: { value: words } })`. */
function insteadOf(schema: z.ZodType, found: unknown): string | undefined {
  const inner = unwrap(schema);
  const words = inner instanceof z.ZodType ? inner.meta()?.instead : undefined;
  if (typeof found !== "string" || !isRecord(words) || !Object.hasOwn(words, found))
    return undefined;
  return String(words[found]);
}

function formerNames(field: z.core.$ZodType): readonly unknown[] {
  const names = field instanceof z.ZodType ? field.meta()?.formerly : undefined;
  return Array.isArray(names) ? names : [];
}

function keysOf(options: readonly ObjectSchema[]): string[] {
  return [...new Set(options.flatMap(({ shape }) => Object.keys(shape)))];
}

/** Whether what was written is meant to be this section of a union, by its literal keys. */
function accepts({ shape }: ObjectSchema, input: unknown): boolean {
  const written = isRecord(input) ? input : {};
  return Object.entries(shape).every(
    ([key, schema]) =>
      !(schema instanceof z.ZodLiteral) || schema.values.has(written[key] as never),
  );
}

/** The literal keys of a section, in words: `kind: local`. */
function tellApart({ shape }: ObjectSchema): string {
  return Object.entries(shape)
    .flatMap(([key, schema]) =>
      schema instanceof z.ZodLiteral ? `${key}: ${[...schema.values].join(" | ")}` : [],
    )
    .join(", ");
}

function unwrap(schema: z.core.$ZodType): z.core.$ZodType {
  if (
    schema instanceof z.ZodDefault ||
    schema instanceof z.ZodPrefault ||
    schema instanceof z.ZodOptional ||
    schema instanceof z.ZodNullable ||
    schema instanceof z.ZodReadonly
  )
    return unwrap(schema.def.innerType);
  if (schema instanceof z.ZodPipe)
    return unwrap(schema.def.in instanceof z.ZodTransform ? schema.def.out : schema.def.in);
  return schema;
}

function defaultOf(schema: z.ZodType): unknown {
  const value = schema instanceof z.ZodDefault ? schema.def.defaultValue : undefined;
  return typeof value === "object" ? undefined : value;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

/** Levenshtein distance. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1));
    row = next;
  }
  return row[b.length];
}
