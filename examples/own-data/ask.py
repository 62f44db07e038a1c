"""Asks a checkpoint the held-out questions with Hugging Face transformers, and holds its answers against
those of an evaluation: python ask.py MODEL heldout.jsonl [runs/…/eval/shapes/model/outcomes.jsonl]"""

import json
import re
import sys
from pathlib import Path

import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoTokenizer
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

folder, data, *outcomes = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(folder)
pictures = Qwen2VLImageProcessorPil.from_pretrained(folder)
model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()

answers = []
lines = [json.loads(line) for line in Path(data).read_text().splitlines()]
for line in lines:
    image = Image.open(Path(data).parent / line["image"]).convert("RGB")
    content = [{"type": "image"}, {"type": "text", "text": line["question"]}]
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
    )
    seen = pictures(images=[image], return_tensors="pt")
    count = int(seen["image_grid_thw"].prod()) // pictures.merge_size**2
    prompt = prompt.replace("<|image_pad|>", "<|image_pad|>" * count)
    inputs = {**tokenizer(prompt, return_tensors="pt", add_special_tokens=False), **seen}
    inputs["mm_token_type_ids"] = (inputs["input_ids"] == model.config.image_token_id).int()
    with torch.no_grad():
        tokens = model.generate(**inputs, max_new_tokens=48, do_sample=False)
    reply = tokenizer.decode(tokens[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    found = re.search(r"<answer>\s*(.*?)\s*</answer>", reply, re.S)
    answers.append(found.group(1) if found else None)

right = sum(answer == line["answer"] for answer, line in zip(answers, lines))
print(f"{right} of {len(lines)} right")
if outcomes:
    ours = [json.loads(line)["answer"] for line in Path(outcomes[0]).read_text().splitlines()]
    same = sum(a == b for a, b in zip(answers, ours, strict=True))
    print(f"{same} of {len(lines)} answers are those of the evaluation")
    sys.exit(0 if same == len(lines) else 1)
