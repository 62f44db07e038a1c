/**
 * `vigorl doctor`: what is in use, and for each problem its fix. Loads the tensor library inside a
 * try, so that it can speak about a set-up that failed.
 */
import { Command } from "commander";
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { statfs } from "node:fs/promises";
import { availableParallelism, cpus, freemem, totalmem } from "node:os";
import { promisify } from "node:util";
import { VigorlError } from "../core/errors.ts";
import { findPath, programName } from "../core/paths.ts";
import type { TorchFacts } from "../torch/device.ts";
import type { Verb } from "./frame.ts";

/** One line of the diagnosis. */
export interface Finding {
  readonly name: string;
  readonly state: "ok" | "warning" | "problem";
  readonly value: string;
  readonly fix?: string;
}

export function doctorVerb(): Verb {
  return {
    command: new Command("doctor").description("say what is in use, and how to fix what is not"),
    run: async () => {
      const findings = await diagnose();
      const problems = findings.filter((finding) => finding.state === "problem").length;
      return {
        json: { ok: problems === 0, findings },
        text: formatFindings(findings),
        code: problems === 0 ? 0 : 2,
      };
    },
  };
}

/** Looks at everything that a run needs. */
export async function diagnose(): Promise<Finding[]> {
  return [
    nodeFinding(),
    await programFinding(
      "g++",
      ["-dumpfullversion"],
      "install a C++ compiler (Debian: apt-get install g++)",
    ),
    await programFinding("python3", ["--version"], "install Python 3.10 or newer, or set LIBTORCH"),
    ...(await torchFindings()),
    memoryFinding(),
    await diskFinding(),
    modelFinding(),
  ];
}

export function formatFindings(findings: readonly Finding[]): string {
  const width = Math.max(...findings.map((finding) => finding.name.length));
  return findings
    .map(({ name, state, value, fix }) => {
      const line = `${SIGN[state]} ${name.padEnd(width)}  ${value}`;
      return fix === undefined ? line : `${line}\n  ${" ".repeat(width)}  fix: ${fix}`;
    })
    .join("\n");
}

const SIGN = { ok: "✓", warning: "!", problem: "✗" };
const GIB = 2 ** 30;

function nodeFinding(): Finding {
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major > 20 || (major === 20 && minor >= 19))
    return { name: "Node", state: "ok", value: process.versions.node };
  return {
    name: "Node",
    state: "problem",
    value: `${process.versions.node} is too old`,
    fix: "install Node 20.19 or newer (https://nodejs.org)",
  };
}

async function programFinding(name: string, args: string[], fix: string): Promise<Finding> {
  try {
    const { stdout } = await promisify(execFile)(name, args, { timeout: 10_000 });
    return { name, state: "ok", value: stdout.trim().replace(/^Python /, "") };
  } catch {
    // Both are needed to set up only; what is built already keeps working.
    return { name, state: "warning", value: "not found", fix };
  }
}

async function torchFindings(): Promise<Finding[]> {
  const threads = `${availableParallelism()} of ${cpus()[0]?.model.trim() ?? "an unknown processor"}`;
  try {
    const { cudaMemory, torchFacts } = await import("../torch/device.ts");
    const facts = torchFacts();
    const devices = Array.from({ length: facts.cudaDevices }, (_, i) => {
      const memory = cudaMemory(i);
      const size = memory
        ? ` (${gib(memory.freeBytes)} of ${gib(memory.totalBytes)} GiB free)`
        : "";
      return `cuda:${i}${size}`;
    });
    return [
      {
        name: "libtorch",
        state: "ok",
        value: `${facts.version} (${SOURCE[facts.source] ?? facts.source}: ${facts.root})`,
      },
      facts.blas === "unknown" || /eigen/i.test(facts.blas)
        ? {
            name: "BLAS",
            state: "warning",
            value: facts.blas,
            fix: `use a libtorch with MKL or OpenBLAS: VIGORL_LIBTORCH_SOURCE=venv ${programName} doctor`,
          }
        : { name: "BLAS", state: "ok", value: facts.blas },
      { name: "threads", state: "ok", value: `${facts.threads} for tensors; ${threads}` },
      { name: "devices", state: "ok", value: ["cpu", ...devices].join(", ") },
      ...graphsFinding(facts),
    ];
  } catch (error) {
    const fix =
      (error instanceof VigorlError ? error.hint : undefined) ?? "read what set-up said above";
    return [{ name: "libtorch", state: "problem", value: (error as Error).message, fix }];
  }
}

/** A CUDA build says whether small decode steps run as CUDA graphs; other builds say nothing. */
function graphsFinding({ cudaDevices, cudaGraphs }: TorchFacts): Finding[] {
  if (cudaDevices === 0) return [];
  if (cudaGraphs === "on") return [{ name: "CUDA graphs", state: "ok", value: "on" }];
  return [
    {
      name: "CUDA graphs",
      state: "warning",
      value:
        cudaGraphs === "none"
          ? "off: the CUDA runtime's headers were not found"
          : `off: ${cudaGraphs}`,
      fix: "install the headers (docs/doctor.md), then start again: the addon is made anew",
    },
  ];
}

const SOURCE: Record<string, string> = {
  env: "from LIBTORCH",
  python: "of python3",
  venv: "private environment",
  system: "of the system",
};

function memoryFinding(): Finding {
  const free = process.availableMemory?.() ?? freemem();
  const value = `${gib(free)} of ${gib(totalmem())} GiB free`;
  if (free >= 2 * GIB) return { name: "memory", state: "ok", value };
  return {
    name: "memory",
    state: free >= GIB ? "warning" : "problem",
    value,
    fix: "end other programs; the demo takes about 1.5 GiB",
  };
}

async function diskFinding(): Promise<Finding> {
  const { bavail, bsize } = await statfs(".");
  const free = bavail * bsize;
  const value = `${gib(free)} GiB free here`;
  if (free >= 2 * GIB) return { name: "disk", state: "ok", value };
  return {
    name: "disk",
    state: free >= GIB / 4 ? "warning" : "problem",
    value,
    fix: "free some space, or write runs elsewhere with --out",
  };
}

function modelFinding(): Finding {
  const folder = findPath("models/nano");
  if (existsSync(`${folder}/model.safetensors`))
    return { name: "nano model", state: "ok", value: folder };
  return {
    name: "nano model",
    state: "warning",
    value: "models/nano holds no weights",
    fix: `get them with git, or train them: ${programName} base recipes/nano-base.yaml`,
  };
}

function gib(bytes: number): string {
  return (bytes / GIB).toFixed(1);
}
