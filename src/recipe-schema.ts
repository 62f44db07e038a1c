/**
 * What a recipe may hold, for others than the parser: a JSON schema for editors, and the list of its keys
 * for help and completion.
 */
import { z } from "zod";
import { recipeSchema } from "./recipe.ts";

type Node = { [key: string]: unknown } & {
  readonly properties?: Readonly<Record<string, Node>>;
  readonly oneOf?: readonly Node[];
  readonly description?: string;
  readonly default?: unknown;
};

/** The schema of `recipes/recipe.schema.json`. Every key may be left out. */
export function recipeJsonSchema(): object {
  const { $schema, ...rest } = withoutRequired(schemaNode());
  return {
    $schema,
    title: "a recipe of vigorl",
    ...rest,
  };
}

export interface RecipeKey {
  /** `rl.groupSize` */
  readonly path: string;
  readonly about: string;
  /** As JSON; undefined where there is none. */
  readonly usual: string | undefined;
}

/** The keys of these sections, or of all, in the order of the schema; those of a union once. */
export function recipeKeys(sections?: readonly string[]): RecipeKey[] {
  const keys = Object.entries(schemaNode().properties ?? {})
    .filter(([name]) => sections?.includes(name) ?? true)
    .flatMap(([name, node]) => keysOf(name, node));
  return [...new Map(keys.map((key) => [key.path, key])).values()];
}

function keysOf(path: string, node: Node): RecipeKey[] {
  const inner = [node, ...(node.oneOf ?? [])].flatMap(({ properties = {} }) =>
    Object.entries(properties).flatMap(([name, child]) => keysOf(`${path}.${name}`, child)),
  );
  if (inner.length > 0) return inner;
  const { description = "", default: usual } = node;
  return [
    { path, about: description, usual: usual === undefined ? undefined : JSON.stringify(usual) },
  ];
}

function schemaNode(): Node {
  return z.toJSONSchema(recipeSchema, { io: "output", unrepresentable: "any" }) as Node;
}

function withoutRequired(node: Node): Node {
  const walk = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(walk);
    if (typeof value !== "object" || value === null) return value;
    const { required: _, ...rest } = value as Node;
    return Object.fromEntries(Object.entries(rest).map(([key, one]) => [key, walk(one)]));
  };
  return walk(node) as Node;
}
