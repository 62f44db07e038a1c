import fc from "fast-check";
import { expect, test } from "vitest";
import { announces, confirms, givesUp, namedRegions, takesBack } from "./phrases.ts";

const rules = { announces, confirms, takesBack };
test.each([
  ["First, I'll look at the door (3, 4).", ["announces"]],
  ["Let me check each sign one by one.", ["announces"]],
  ["I need to find the cup.", ["announces"]],
  ["To find the number, look at the plate (1, 2).", ["announces"]],
  ["Let me double-check the label (3, 4).", ["confirms"]],
  ["I can confirm that this is red.", ["confirms"]],
  ["This is indeed the cup.", ["confirms"]],
  ["I see that it is a cat.", ["confirms"]],
  ["Looking again at (3, 4).", ["confirms"]],
  ["Wait, that is a plate.", ["takesBack"]],
  ["On second thought it is a plate.", ["takesBack"]],
  ["I initially thought that it was round.", ["takesBack"]],
  ["It’s a dog, but it’s actually grey.", ["takesBack"]],
  ["That does not hold up.", ["takesBack"]],
  ["I go back and look elsewhere.", ["takesBack"]],
  ["That's wrong.", ["takesBack"]],
  ["The cup is actually red.", []],
  ["There is no cup.", []],
  ["Noah is waiting.", []],
  ["Confirmation bias.", []],
  ["", []],
])("%j", (sentence, found) => {
  expect(Object.keys(rules).filter((name) => rules[name as keyof typeof rules](sentence))).toEqual(
    found,
  );
});

test("a recipe's own correction counts as whole words", () => {
  expect(takesBack("red star no orange heart (1, 2)", ["no"])).toBe(true);
  expect(takesBack("another note, unknown", ["no"])).toBe(false);
  expect(takesBack("anything", [""])).toBe(false);
});

test.each([
  ["none", true],
  [" None. ", true],
  ["I cannot tell from this picture", true],
  ["not found", true],
  ["nonexistent", false],
  ["none is red", false],
  ["7", false],
  ["", false],
])("%j gives up: %s", (answer, expected) => {
  expect(givesUp(answer)).toBe(expected);
});

test.each([
  ["in the upper-left corner, and the top left", ["top left"]],
  ["on the right side and in the Background", ["right", "background"]],
  ["the centre of the image", ["middle"]],
  ["the cup is left of the plate, right?", []],
])("%j names %j", (sentence, regions) => {
  expect(namedRegions(sentence)).toEqual(regions);
});

test("any text is read, and quickly", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 300 }), (text) => {
      for (const rule of Object.values(rules)) expect(typeof rule(text)).toBe("boolean");
      expect(Array.isArray(namedRegions(text))).toBe(true);
    }),
  );
  for (const piece of [
    "i cannot tell ",
    "but it ",
    "top ",
    "let me ",
    "i can see ",
    "   ",
    "no ",
  ]) {
    const text = piece.repeat(100_000);
    for (const rule of [announces, confirms, takesBack, givesUp, namedRegions]) rule(text);
  }
});
