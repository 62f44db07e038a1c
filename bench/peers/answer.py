"""The peer of `bench/load.ts` and `bench/ask.ts`: one prompt after another through transformers' generate.

Loads the model and answers the first prompt with one token, then prints
{ready, seconds, cpuSeconds, wholeSeconds, peakMb, tokens, versions}: from the call that loads to the first
token, and from the start of the process. Then answers requests from stdin, one a line:
{"prompt": n, "tokens": k}  samples k tokens, the likeliest -> {seconds, cpuSeconds, tokens: [id]}
"""

import argparse
import json
import os
import resource
import sys
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
parser = argparse.ArgumentParser()
parser.add_argument("--model", required=True)
parser.add_argument("--prompts", required=True)
parser.add_argument("--pad", type=int, required=True)
parser.add_argument("--threads", type=int, required=True)
parser.add_argument("--dtype", required=True)
parser.add_argument("--started", type=float, required=True, help="seconds since 1970")
args = parser.parse_args()

import torch
import transformers
from transformers import AutoModelForImageTextToText

from prompts import read_prompts

torch.set_num_threads(args.threads)


def answer(prompt, tokens):
    inputs = read_prompts(f"{args.prompts}/{prompt}", args.pad, "cpu")
    with torch.inference_mode():
        output = model.generate(**inputs, do_sample=False, max_new_tokens=tokens)
    return output[0, inputs["input_ids"].shape[1] :].tolist()


def timed(work):
    start, start_cpu = time.perf_counter(), time.process_time()
    tokens = work()
    return {
        "seconds": time.perf_counter() - start,
        "cpuSeconds": time.process_time() - start_cpu,
        "tokens": tokens,
    }


def say(result):
    print(json.dumps(result), flush=True)


def first():
    global model
    model = AutoModelForImageTextToText.from_pretrained(args.model, dtype=getattr(torch, args.dtype))
    model.eval()
    # Without an end token every sample has its full length.
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = 0
    return answer(0, 1)


result = timed(first)
say(
    {
        "ready": True,
        "versions": {"transformers": transformers.__version__, "torch": torch.__version__},
        **result,
        "wholeSeconds": time.time() - args.started,
        "peakMb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
)
for line in sys.stdin:
    request = json.loads(line)
    say(timed(lambda: answer(request["prompt"], request["tokens"])))
