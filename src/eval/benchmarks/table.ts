/** The benchmarks, one line each. */
import { programName } from "../../core/paths.ts";
import { nearestName } from "../../core/config.ts";
import { VigorlError } from "../../core/errors.ts";
import type { Benchmark, Protocol } from "./benchmark.ts";
import { ai2d } from "./ai2d.ts";
import { blink } from "./blink.ts";
import { gqa } from "./gqa.ts";
import { hrbench4k, hrbench8k } from "./hrbench.ts";
import { mathvision } from "./mathvision.ts";
import { mmeRealworld } from "./mme-realworld.ts";
import { mmmu } from "./mmmu.ts";
import { o3Bench } from "./o3-bench.ts";
import { osworldG } from "./osworld-g.ts";
import { pope } from "./pope.ts";
import { realworldqa } from "./realworldqa.ts";
import { robospatial } from "./robospatial.ts";
import { sat, sat2 } from "./sat.ts";
import { screenspot, screenspotV2 } from "./screenspot.ts";
import { screenspotPro, screenspotProLr } from "./screenspot-pro.ts";
import { treebench } from "./treebench.ts";
import { visualprobe } from "./visualprobe.ts";
import { vstar } from "./vstar.ts";
import { wemath } from "./wemath.ts";
import { zoombench } from "./zoombench.ts";

export const benchmarks: readonly Benchmark[] = [
  sat2,
  sat,
  blink,
  robospatial,
  vstar,
  screenspot,
  screenspotV2,
  screenspotPro,
  screenspotProLr,
  osworldG,
  mmmu,
  realworldqa,
  pope,
  gqa,
  ai2d,
  mathvision,
  wemath,
  hrbench4k,
  hrbench8k,
  visualprobe,
  treebench,
  mmeRealworld,
  o3Bench,
  zoombench,
];

export const benchmarkNames = benchmarks.map(({ name }) => name) as [string, ...string[]];

/** @throws VigorlError("usage") for a name that is none */
export function benchmarkOf(name: string): Benchmark {
  const found = benchmarks.find((benchmark) => benchmark.name === name);
  if (found !== undefined) return found;
  const near = nearestName(name, benchmarkNames);
  throw new VigorlError("usage", `there is no benchmark ${name}`, {
    hint: near === undefined ? `${programName} eval --list shows all` : `did you mean ${near}?`,
  });
}

/** @throws VigorlError("usage") for a name that the benchmark does not have */
export function protocolOf(benchmark: Benchmark, name: string): Protocol {
  const found = Object.entries(benchmark.protocols).find(([key]) => key === name)?.[1];
  if (found !== undefined) return found;
  throw new VigorlError("usage", `${benchmark.name} has no protocol ${name}`, {
    hint: `it has ${Object.keys(benchmark.protocols).join(", ")}`,
  });
}
