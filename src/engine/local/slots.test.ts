/** A slot reads a shared prompt at its lender only while that prompt lies there. */
import { expect, it } from "vitest";
import { zeros } from "../../torch/ops.ts";
import { History } from "./sequence.ts";
import { Slots, type Conversation } from "./slots.ts";

const conversation = (): Conversation => ({
  session: undefined,
  history: new History(),
  slot: null,
  busy: true,
});

/** Two slots: the first holds a prompt, the second begins with it, too. */
function lent() {
  const slots = new Slots(2);
  const [lender, borrower] = [conversation(), conversation()];
  for (const [i, one] of [lender, borrower].entries()) slots.assign(one, `prompt ${i}`, false);
  const prompt = { key: "a", slot: 0, length: 40, rope: 40, logits: zeros([1, 4]).keep() };
  slots.holdPrompt(prompt);
  borrower.slot!.borrowed = prompt;
  const read = () => {
    slots.describe();
    return [slots.input.sources[1], slots.input.shared[1]];
  };
  return { slots, lender, borrower, read };
}

it("reads at the lender, also after its conversation ended", () => {
  const { slots, lender, read } = lent();
  expect(read()).toEqual([0, 40]);
  slots.free(lender);
  expect(read()).toEqual([0, 40]);
});

it("reads at itself once the lender holds another prompt, or none", () => {
  const replaced = lent();
  const logits = zeros([1, 4]).keep();
  replaced.slots.holdPrompt({ key: "b", slot: 0, length: 50, rope: 50, logits });
  expect(replaced.read()).toEqual([1, 0]);
  const dropped = lent();
  dropped.slots.dropPrompt(dropped.lender.slot!);
  expect(dropped.read()).toEqual([1, 0]);
});

it("reads at itself after it went to another conversation", () => {
  const { slots, borrower, read } = lent();
  slots.free(borrower);
  slots.assign(conversation(), "prompt 2", false);
  expect(read()).toEqual([1, 0]);
});
