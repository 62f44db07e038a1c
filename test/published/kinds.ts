/** What is compared with the published code, one file each. */
import { anyKind, type AnyKind } from "./kind.ts";
import { calls } from "./kinds/calls.ts";
import { chains } from "./kinds/chains.ts";
import { crops } from "./kinds/crops.ts";
import { judges } from "./kinds/judges.ts";
import { literals } from "./kinds/literals.ts";
import { rewards } from "./kinds/rewards.ts";
import { rlMasks } from "./kinds/rl-masks.ts";
import { sftMasks } from "./kinds/sft-masks.ts";
import { splices } from "./kinds/splices.ts";
import { trees } from "./kinds/trees.ts";

export const kinds: readonly AnyKind[] = [
  anyKind(rewards),
  anyKind(judges),
  anyKind(literals),
  anyKind(trees),
  anyKind(chains),
  anyKind(splices),
  anyKind(rlMasks),
  anyKind(sftMasks),
  anyKind(calls),
  anyKind(crops),
];
