"""The peer of `bench/gpu.ts`: the same work in PyTorch and transformers on the same device.

Each line on stdin is a row ({"row": "copy" | "matmul" | "decode" | "sft", …}) and is answered with
{"figures": {name: number}} or {"error": text}.
"""

import argparse
import gc
import json
import os
import sys
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy
import torch
import transformers
from transformers import Qwen2_5_VLForConditionalGeneration

parser = argparse.ArgumentParser()
parser.add_argument("--device", required=True)
args = parser.parse_args()
device = torch.device(args.device)
dtype = torch.bfloat16
is_cuda = device.type == "cuda"
model = None


def wait():
    if is_cuda:
        torch.cuda.synchronize()


def timed(run, warm=3, count=10):
    for _ in range(warm):
        run()
    wait()
    start = time.perf_counter()
    for _ in range(count):
        run()
    wait()
    return (time.perf_counter() - start) / count


def copy(numbers):
    source = torch.zeros(numbers, dtype=dtype, device=device)
    target = torch.zeros_like(source)
    return {"gigabytesPerSecond": 4 * numbers / timed(lambda: target.copy_(source)) / 1e9}


def matmul(size):
    left, right = (torch.randn(size, size, dtype=dtype, device=device) for _ in range(2))
    return {"teraflops": 2 * size**3 / timed(lambda: left @ right) / 1e12}


def load(folder):
    """The folder's model, once; without its weights' gradients and end tokens."""
    global model
    if model is None:
        model = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=dtype).to(device)
        model.generation_config.eos_token_id = None
        model.generation_config.pad_token_id = 0
    return model


def decode(folder, sequences, promptTokens, newTokens):
    model = load(folder).eval()
    vocab = model.config.text_config.vocab_size - 9
    ids = torch.randint(0, vocab, (sequences, promptTokens), device=device)

    def run(count):
        with torch.inference_mode():
            model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                do_sample=True,
                temperature=1.0,
                top_p=1.0,
                top_k=0,
                max_new_tokens=count,
            )
        wait()

    run(2)
    start = time.perf_counter()
    run(newTokens)
    seconds = time.perf_counter() - start
    return {"tokensPerSecond": sequences * newTokens / seconds}


def with_adapter(model):
    from peft import LoraConfig, get_peft_model

    linear = "(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
    targets = rf".*language_model\.layers\.\d+\.(self_attn|mlp)\.{linear}"
    return get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules=targets))


def sft(folder, data, work, lora):
    """Micro-batches of two sequences; weights and moments of AdamW in bfloat16, the tower frozen."""
    model = load(folder).train()
    if lora:
        model.requires_grad_(False)
        model = with_adapter(model)
    else:
        model.requires_grad_(True)
        model.model.visual.requires_grad_(False)
    with open(f"{data}/train.json") as file:
        stored = json.load(file)
    picture = torch.from_numpy(numpy.fromfile(f"{data}/picture.f32", dtype=numpy.float32))
    ids = torch.tensor(stored["ids"], device=device)
    count, length = ids.shape
    picture = picture.view(stored["grid"][1] * stored["grid"][2], -1).to(device, dtype)
    labels = ids.clone()
    labels[:, : length - work["scoredTokens"]] = -100
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-6, betas=(0.9, 0.99), weight_decay=0.0, fused=True)

    def step():
        total = 0.0
        for at in range(0, count, 2):
            some = ids[at : at + 2]
            loss = model(
                input_ids=some,
                attention_mask=torch.ones_like(some),
                mm_token_type_ids=(some == model.config.image_token_id).int(),
                pixel_values=picture.repeat(len(some), 1),
                image_grid_thw=torch.tensor([stored["grid"]] * len(some), device=device),
                labels=labels[at : at + 2],
                use_cache=False,
            ).loss * (len(some) / count)
            loss.backward()
            total += loss.detach()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return float(total)

    if is_cuda:
        torch.cuda.reset_peak_memory_stats()
    first = step()
    wait()
    start = time.perf_counter()
    for _ in range(work["steps"]):
        step()
    wait()
    seconds = (time.perf_counter() - start) / work["steps"]
    figures = {"tokensPerSecond": count * length / seconds, "secondsPerStep": seconds, "loss": first}
    if is_cuda:
        figures["peakGigabytes"] = torch.cuda.max_memory_allocated() / 1e9
    return figures


rows = {"copy": copy, "matmul": matmul, "decode": decode, "sft": sft}


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
    try:
        figures = rows[request.pop("row")](**request)
        answer({"figures": {name: float(f"{value:.4g}") for name, value in figures.items()}})
    except Exception as error:
        answer({"error": f"{type(error).__name__}: {error}"})
    gc.collect()
    if is_cuda:
        torch.cuda.empty_cache()
