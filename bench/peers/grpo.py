"""The peer of `bench/grpo.ts`: steps of TRL's GRPOTrainer on a Qwen2.5-VL folder, on the CPU.

Reads prompts.jsonl ({"image": path, "question": text} a line; a step takes the next ones) and says
{"ready", "versions"}. Each line on stdin asks for one step and is answered with {seconds,
cpuSeconds, tokens, peakMb}. What costs time is set as on the other side: float32, no reference model, one update a
step with the whole batch in it, AdamW, a reward that is cheap.
"""

import argparse
import json
import os
import resource
import sys
import time

# The trainer talks on stdout; the answers have it for themselves.
answers = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
import transformers
import trl
from datasets import Dataset
from PIL import Image
from transformers import (
    AutoImageProcessor,
    AutoTokenizer,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    TrainerCallback,
)
from trl import GRPOConfig, GRPOTrainer

parser = argparse.ArgumentParser()
parser.add_argument("--model", required=True)
parser.add_argument("--prompts", required=True)
parser.add_argument("--per-step", type=int, default=16)
parser.add_argument("--group", type=int, default=8)
parser.add_argument("--tokens", type=int, default=64)
parser.add_argument("--threads", type=int, default=2)
args = parser.parse_args()
torch.set_num_threads(args.threads)


class ImageProcessor(Qwen2_5_VLProcessor):
    """The model's processor for images alone; that for videos would need torchvision."""

    def __init__(self, folder):
        tokenizer = AutoTokenizer.from_pretrained(folder)
        self.image_processor = AutoImageProcessor.from_pretrained(folder)
        self.tokenizer = tokenizer
        self.video_processor = None
        self.chat_template = tokenizer.chat_template
        self.image_token, self.video_token = "<|image_pad|>", "<|video_pad|>"
        self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
        self.video_token_id = tokenizer.convert_tokens_to_ids(self.video_token)

    @classmethod
    def get_attributes(cls):
        return ["image_processor", "tokenizer"]


class OneAtATime(TrainerCallback):
    """Waits for a line before each step and answers with what the step took."""

    def on_step_begin(self, *_args, **_kwargs):
        if not sys.stdin.readline():
            os._exit(0)
        self.started = time.perf_counter(), time.process_time()

    def on_step_end(self, *_args, **_kwargs):
        answer(
            {
                "seconds": time.perf_counter() - self.started[0],
                "cpuSeconds": time.process_time() - self.started[1],
                "tokens": written.pop(),
                "peakMb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        )


written = []


def answer(value):
    answers.write(json.dumps(value) + "\n")


def reward(completions, completion_ids, **_kwargs):
    """Differs within each group, so that every episode is learned from."""
    written.append(sum(len(ids) for ids in completion_ids))
    return [float(sum(ids) % 7) for ids in completion_ids]


with open(args.prompts) as lines:
    rows = [json.loads(line) for line in lines]
folder = os.path.dirname(args.prompts)
dataset = Dataset.from_dict(
    {
        "prompt": [[{"role": "user", "content": row["question"]}] for row in rows],
        "image": [Image.open(os.path.join(folder, row["image"])).convert("RGB") for row in rows],
    }
)

model = Qwen2_5_VLForConditionalGeneration.from_pretrained(args.model, dtype=torch.float32)
processor = ImageProcessor(args.model)
config = GRPOConfig(
    output_dir="/tmp/vigorl-bench-trl",
    use_cpu=True,
    bf16=False,
    fp16=False,
    gradient_checkpointing=False,
    per_device_train_batch_size=args.per_step * args.group,
    gradient_accumulation_steps=1,
    shuffle_dataset=False,
    num_generations=args.group,
    max_completion_length=args.tokens,
    temperature=1.0,
    top_p=1.0,
    beta=0.0,
    num_iterations=1,
    loss_type="dapo",
    learning_rate=1e-5,
    max_grad_norm=1.0,
    max_steps=len(rows) // args.per_step,
    logging_steps=1000,
    save_strategy="no",
    report_to=[],
    disable_tqdm=True,
    seed=1,
)
trainer = GRPOTrainer(
    model=model,
    reward_funcs=reward,
    args=config,
    train_dataset=dataset,
    processing_class=processor,
    callbacks=[OneAtATime()],
)
versions = {
    "torch": torch.__version__,
    "transformers": transformers.__version__,
    "trl": trl.__version__,
}
answer({"ready": True, "versions": versions})
trainer.train()
