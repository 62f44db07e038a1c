"""The peer of `bench/grpo.ts`: steps of TRL's GRPOTrainer on a Qwen2.5-VL folder, on the CPU.

Reads prompts.jsonl ({"image": path, "question": text} a line) and prints, as its last line, one
JSON object {secondsPerStep, tokensPerStep, versions}. The first step is warm-up and not counted.
Everything that costs time is set as on the other side: float32, no reference, one update a step,
the whole batch in it, AdamW, the reward cheap.
"""

import argparse
import json
import os
import resource
import time

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
parser.add_argument("--steps", type=int, default=3)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--micro-batch", type=int, default=0)
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


class StepTimes(TrainerCallback):
    """Wall-clock time of each step, and the tokens written in it."""

    def __init__(self):
        self.seconds = []
        self.started = None

    def on_step_begin(self, *_args, **_kwargs):
        self.started = time.perf_counter()

    def on_step_end(self, *_args, **_kwargs):
        self.seconds.append(time.perf_counter() - self.started)


written = []


def reward(completions, completion_ids, **_kwargs):
    """Differs within each group, so that every episode is learned from."""
    written.append(sum(len(ids) for ids in completion_ids))
    return [float(sum(ids) % 7) for ids in completion_ids]


with open(args.prompts) as lines:
    rows = [json.loads(line) for line in lines]
folder = os.path.dirname(args.prompts)
needed = args.per_step * (args.steps + 1)
rows = (rows * (needed // len(rows) + 1))[:needed]
dataset = Dataset.from_dict(
    {
        "prompt": [[{"role": "user", "content": row["question"]}] for row in rows],
        "image": [Image.open(os.path.join(folder, row["image"])).convert("RGB") for row in rows],
    }
)

model = Qwen2_5_VLForConditionalGeneration.from_pretrained(args.model, dtype=torch.float32)
processor = ImageProcessor(args.model)
micro = args.micro_batch or args.per_step * args.group
config = GRPOConfig(
    output_dir="/tmp/vigorl-bench-trl",
    use_cpu=True,
    bf16=False,
    fp16=False,
    gradient_checkpointing=False,
    per_device_train_batch_size=micro,
    gradient_accumulation_steps=args.per_step * args.group // micro,
    num_generations=args.group,
    max_completion_length=args.tokens,
    temperature=1.0,
    top_p=1.0,
    beta=0.0,
    num_iterations=1,
    loss_type="dapo",
    learning_rate=1e-5,
    max_grad_norm=1.0,
    max_steps=args.steps + 1,
    logging_steps=1,
    save_strategy="no",
    report_to=[],
    disable_tqdm=True,
    seed=1,
)
times = StepTimes()
trainer = GRPOTrainer(
    model=model,
    reward_funcs=reward,
    args=config,
    train_dataset=dataset,
    processing_class=processor,
    callbacks=[times],
)
trainer.train()
counted = times.seconds[1:]
print(
    json.dumps(
        {
            "secondsPerStep": sum(counted) / len(counted),
            "tokensPerStep": sum(written[1:]) / len(written[1:]),
            "peakMemoryBytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "versions": {
                "torch": torch.__version__,
                "transformers": transformers.__version__,
                "trl": trl.__version__,
            },
        }
    )
)
