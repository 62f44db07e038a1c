"""The peer of `bench/rollout.ts`: transformers' generate on the same folder, prompts and threads.

Reads one request a line from stdin and answers each with one JSON object:
{"round": n}  samples `group` members for every prompt of round n ->
    {seconds, cpuSeconds, tokens, peakMb}
{"greedy": n, "tokens": k}  -> {greedy: [[id]]}, one list a prompt
"""

import argparse
import json
import os
import resource
import sys
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import transformers
from transformers import Qwen2_5_VLForConditionalGeneration

from prompts import read_prompts

parser = argparse.ArgumentParser()
parser.add_argument("--model", required=True)
parser.add_argument("--rounds", required=True)
parser.add_argument("--pad", type=int, required=True)
parser.add_argument("--group", type=int, required=True)
parser.add_argument("--tokens", type=int, required=True)
parser.add_argument("--threads", type=int, required=True)
parser.add_argument("--device", required=True)
parser.add_argument("--dtype", required=True)
args = parser.parse_args()

torch.set_num_threads(args.threads)
model = Qwen2_5_VLForConditionalGeneration.from_pretrained(
    args.model, dtype=getattr(torch, args.dtype)
)
model = model.to(args.device).eval()
# Without an end token every sample has its full length.
model.generation_config.eos_token_id = None
model.generation_config.pad_token_id = 0


def inputs_of(round_number):
    return read_prompts(f"{args.rounds}/{round_number}", args.pad, args.device)


def new_tokens(inputs, output):
    return output[:, inputs["input_ids"].shape[1] :]


def sample(round_number):
    inputs = inputs_of(round_number)
    torch.manual_seed(round_number)
    start, start_cpu = time.perf_counter(), time.process_time()
    with torch.inference_mode():
        output = model.generate(
            **inputs,
            do_sample=True,
            temperature=1.0,
            top_p=1.0,
            top_k=0,
            max_new_tokens=args.tokens,
            num_return_sequences=args.group,
        )
    if args.device != "cpu":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    return {
        "seconds": seconds,
        "cpuSeconds": time.process_time() - start_cpu,
        "tokens": new_tokens(inputs, output).numel(),
        "peakMb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def greedy(round_number, tokens):
    inputs = inputs_of(round_number)
    with torch.inference_mode():
        output = model.generate(**inputs, do_sample=False, max_new_tokens=tokens)
    return {"greedy": new_tokens(inputs, output).tolist()}


def answer(result):
    print(json.dumps(result), flush=True)


answer(
    {
        "ready": True,
        "versions": {"transformers": transformers.__version__, "torch": torch.__version__},
    }
)
for line in sys.stdin:
    request = json.loads(line)
    if "greedy" in request:
        answer(greedy(request["greedy"], request["tokens"]))
    else:
        answer(sample(request["round"]))
