import fc from "fast-check";
import { expect, test } from "vitest";
import { jsonProblem } from "./json-text.ts";

test("a key that comes twice in one object is found, however it is written", () => {
  expect(jsonProblem('{"a":{"a":1},"b":"a","c":["a","a",{"a":1},{"a":1}]}')).toBeNull();
  expect(jsonProblem('{"a\\"b":1,"x":"\\\\","a\\"b":2}')).toBe('has the key "a\\"b" twice');
  expect(jsonProblem('{"a":1,"\\u0061":2}')).toBe('has the key "a" twice');
  expect(jsonProblem('[{"x":[{"__proto__":1, "__proto__" : 2}]}]')).toMatch(/"__proto__" twice/);
});

test("nesting is bounded, brackets in strings aside", () => {
  expect(jsonProblem("[".repeat(1e6))).toBe("nests deeper than 500");
  expect(jsonProblem('{"a":'.repeat(501))).toBe("nests deeper than 500");
  expect(jsonProblem(`["${"[".repeat(1000)}", ${"[".repeat(499)}${"]".repeat(499)}]`)).toBeNull();
});

test("whatever JSON writes has no problem, and no text makes it fail", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      expect(jsonProblem(JSON.stringify(value))).toBeNull();
    }),
  );
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...'{}[]",:\\ua1'.split("")) }), (text) => {
      jsonProblem(text);
    }),
  );
});
