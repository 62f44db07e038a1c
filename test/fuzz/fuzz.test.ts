/** A short, seeded run of every target of the fuzz; `scripts/fuzz.sh` runs them long. */
import { expect, test } from "vitest";
import { faultOf } from "./one-case.ts";
import { targets } from "./targets.ts";

test.each(targets.map((target) => [target.name, target] as const))(
  "%s: every input ends in a result or an error of ours",
  async (_, target) => {
    const faults: string[] = [];
    for (let index = 0; index < 60; index++) {
      const fault = await faultOf(target, 1, index);
      if (fault !== null) faults.push(`${target.name} 1 ${index}: ${fault}`);
    }
    expect(faults).toEqual([]);
  },
);
