"""The peer of `bench/torch.ts`: the same work in PyTorch and transformers, from the same tensors.

Each line on stdin, {"name", "count"}, is answered with {seconds, cpuSeconds, results}.
"""

import argparse
import json
import os
import sys
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import load_file
from transformers import Qwen2_5_VLForConditionalGeneration

parser = argparse.ArgumentParser()
parser.add_argument("--shared", required=True)
parser.add_argument("--model", required=True)
parser.add_argument("--threads", type=int, required=True)
parser.add_argument("--heads", type=int, required=True)
parser.add_argument("--rate", type=float, required=True)
parser.add_argument("--device", required=True)
parser.add_argument("--dtype", required=True)
args = parser.parse_args()
torch.set_num_threads(args.threads)

shared = load_file(args.shared, device=args.device)
left, right, tokens = shared.pop("left"), shared.pop("right"), shared.pop("tokens")
vlm_inputs = {
    name.removeprefix("vlm."): shared.pop(name) for name in list(shared) if name.startswith("vlm.")
}


def adamw(parameters):
    return torch.optim.AdamW(parameters, lr=args.rate, weight_decay=0.01, fused=True)


class Norm(torch.nn.Module):
    def __init__(self, name):
        super().__init__()
        self.weight = torch.nn.Parameter(shared[f"{name}.weight"])
        self.bias = torch.nn.Parameter(shared[f"{name}.bias"])

    def forward(self, x):
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias)


def linear(name):
    weight = shared[name]
    layer = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.weight = torch.nn.Parameter(weight)
    return layer


class Block(torch.nn.Module):
    def __init__(self, index):
        super().__init__()
        self.norm1, self.norm2 = Norm(f"{index}.norm1"), Norm(f"{index}.norm2")
        self.qkv, self.out = linear(f"{index}.qkv"), linear(f"{index}.out")
        self.up, self.down = linear(f"{index}.up"), linear(f"{index}.down")

    def forward(self, x):
        size, length, width = x.shape
        heads = self.qkv(self.norm1(x)).view(size, length, 3 * args.heads, -1).transpose(1, 2)
        q, k, v = heads.chunk(3, 1)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(size, length, width))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Transformer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.words = torch.nn.Parameter(shared["words"])
        self.positions = torch.nn.Parameter(shared["positions"])
        layers = sum(name.endswith(".qkv") for name in shared)
        self.blocks = torch.nn.ModuleList(Block(i) for i in range(layers))
        self.norm = Norm("norm")

    def forward(self, ids):
        x = F.embedding(ids, self.words) + self.positions
        for block in self.blocks:
            x = block(x)
        return F.linear(self.norm(x), self.words)


transformer = Transformer().to(args.device)
transformer_optimizer = adamw(transformer.parameters())
vlm = Qwen2_5_VLForConditionalGeneration.from_pretrained(
    args.model, dtype=getattr(torch, args.dtype)
)
vlm = vlm.to(args.device).train()
vlm_optimizer = adamw(vlm.parameters())
image_token = vlm.config.image_token_id
vlm_inputs["mm_token_type_ids"] = (vlm_inputs["input_ids"] == image_token).int()
one = torch.tensor([1.0, 2, 3, 4], device=args.device)
two = torch.tensor([4.0, 3, 2, 1], device=args.device)


def matmul1024():
    return (left @ right)[0, 0].item()


def train_step():
    logits = transformer(tokens[:, :-1])
    loss = F.cross_entropy(logits.view(-1, logits.shape[-1]), tokens[:, 1:].reshape(-1))
    loss.backward()
    transformer_optimizer.step()
    transformer_optimizer.zero_grad()
    return loss.item()


def vlm_train_step():
    loss = vlm(**vlm_inputs, use_cache=False).loss
    loss.backward()
    vlm_optimizer.step()
    vlm_optimizer.zero_grad()
    return loss.item()


def tiny_op(count):
    for _ in range(count):
        one + two
    return []


def turn(name, count):
    start, start_cpu = time.perf_counter(), time.process_time()
    if name == "tinyOp":
        results = tiny_op(count)
    else:
        results = [steps[name]() for _ in range(count)]
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - start_cpu
    return {"seconds": seconds, "cpuSeconds": cpu_seconds, "results": results}


steps = {"matmul1024": matmul1024, "trainStep": train_step, "vlmTrainStep": vlm_train_step}
versions = {"torch": torch.__version__, "transformers": transformers.__version__}
print(json.dumps({"ready": True, "versions": versions}), flush=True)
for line in sys.stdin:
    print(json.dumps(turn(**json.loads(line))), flush=True)
