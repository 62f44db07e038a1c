"""Writes a Qwen2.5-VL folder of random bfloat16 weights with the sizes of the published 3B model.

    python random_model.py --nano models/nano --out FOLDER [--layers 36] [--vocab 151936] [--device cuda]

Tokenizer and special tokens are the nano model's, so that the benches can write their prompts for it;
everything that costs time and memory has its published size. With --vocab 571, the nano model's, all
that it samples can be read, and whole stages run on it.
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

parser = argparse.ArgumentParser()
parser.add_argument("--nano", type=Path, required=True)
parser.add_argument("--out", type=Path, required=True)
parser.add_argument("--layers", type=int, default=36)
parser.add_argument("--vocab", type=int, default=151936)
parser.add_argument("--device", default="cpu")
args = parser.parse_args()

nano = json.loads((args.nano / "config.json").read_text())
ids = {name: value for name, value in nano.items() if name.endswith("_token_id")}
text = {
    "vocab_size": args.vocab,
    "hidden_size": 2048,
    "intermediate_size": 11008,
    "num_hidden_layers": args.layers,
    "num_attention_heads": 16,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128000,
    "max_window_layers": 70,
    "layer_types": ["full_attention"] * args.layers,
    "rms_norm_eps": 1e-6,
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 1000000.0,
        "mrope_section": [16, 24, 24],
    },
    "tie_word_embeddings": True,
}
vision = {
    "depth": 32,
    "hidden_size": 1280,
    "intermediate_size": 3420,
    "num_heads": 16,
    "out_hidden_size": 2048,
    "patch_size": 14,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "window_size": 112,
    "fullatt_block_indexes": [7, 15, 23, 31],
}
config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=True, **ids)
torch.manual_seed(1)
torch.set_default_dtype(torch.bfloat16)
with torch.device(args.device):
    model = Qwen2_5_VLForConditionalGeneration(config)
for file in args.nano.glob("*.json"):
    if file.name not in ("config.json", "model.safetensors.index.json"):
        args.out.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, args.out)
model.save_pretrained(args.out)
count = sum(parameter.numel() for parameter in model.parameters())
print(f"{args.out}: {count / 1e9:.2f} billion parameters")
