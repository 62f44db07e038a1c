"""Reads prompts that `bench/prompts.ts` wrote."""

import json

import numpy
import torch


def read_prompts(path, pad, device):
    """Left-padded prompts with their images, as the model takes them."""
    with open(f"{path}.json") as file:
        stored = json.load(file)
    pixels = numpy.fromfile(f"{path}.f32", dtype=numpy.float32)
    grids = torch.tensor(stored["grids"])
    longest = max(len(ids) for ids in stored["ids"])
    padded = [[0] * (longest - len(ids)) + ids for ids in stored["ids"]]
    mask = [[0] * (longest - len(ids)) + [1] * len(ids) for ids in stored["ids"]]
    input_ids = torch.tensor(padded)
    inputs = {
        "input_ids": input_ids,
        "attention_mask": torch.tensor(mask),
        "mm_token_type_ids": (input_ids == pad).int(),
        "pixel_values": torch.from_numpy(pixels).view(int(grids.prod(-1).sum()), -1),
        "image_grid_thw": grids,
    }
    return {name: value.to(device) for name, value in inputs.items()}
