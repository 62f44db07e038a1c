"""Runs the functions of the paper's repository (Gabesarch/grounded-rl) on inputs that come as JSON lines.

    python test/published/oracle.py PATH/TO/grounded-rl < inputs.jsonl > outputs.jsonl

Each line is [kind, input]; each line that leaves is what the published function gave, or
{"raises": "<name of the error>"}. Functions are lifted out of their files as they stand, so that what
those files import but do not need here (vLLM, Ray, wandb) need not be installed. Needed are torch,
transformers, Pillow and qwen-vl-utils (the repository's own: 0.0.11).
"""

import __future__

import ast
import contextlib
import datetime
import hashlib
import io
import json
import logging
import math
import pathlib
import random
import re
import sys
import types
import typing
from abc import ABC, abstractmethod
from collections import defaultdict
from dataclasses import dataclass, field

here = pathlib.Path(__file__).parent
checkout = pathlib.Path(sys.argv[1])
sys.dont_write_bytecode = True


def lift(path, names, **namespace):
    """The definitions of a file that are called so, executed in a namespace of ours."""
    tree = ast.parse((checkout / path).read_text())
    wanted = [node for node in tree.body if names_of(node) & set(names)]
    missing = set(names) - set().union(*(names_of(node) for node in wanted))
    if missing:
        sys.exit(f"{checkout / path} defines no {', '.join(sorted(missing))}")
    space = {
        **{module.__name__: module for module in (ast, datetime, io, json, math, re)},
        **{name: getattr(typing, name) for name in ("Any", "Dict", "List", "Optional", "Tuple", "Union")},
        "logger": logging.getLogger("published"),
        "print": lambda *_: None,
        **namespace,
    }
    flags = __future__.annotations.compiler_flag
    exec(compile(ast.Module(wanted, []), path, "exec", flags=flags), space)
    return types.SimpleNamespace(**space)


def names_of(node):
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return {node.name}
    if isinstance(node, ast.Assign):
        return {target.id for target in node.targets if isinstance(target, ast.Name)}
    return set()


_fetch = None


def fetch_module():
    """qwen-vl-utils, of which pictures alone are needed: its imports for video and HTTP stay away."""
    global _fetch
    if _fetch is None:
        stubs = {"requests", "torchvision", "torchvision.io", "torchvision.transforms"} - set(sys.modules)
        sys.modules.update({name: types.ModuleType(name) for name in stubs})
        if "torchvision" in stubs:
            sys.modules["torchvision"].io = sys.modules["torchvision"].transforms = None
            sys.modules["torchvision.transforms"].InterpolationMode = None
        try:
            from qwen_vl_utils import vision_process as _fetch
        except ImportError:
            sys.exit("pip install --no-deps qwen-vl-utils==0.0.11: the published crops need it")
        for name in stubs:
            del sys.modules[name]
    return _fetch


# --- rewards and judges -----------------------------------------------------------------------

REWARDS = "src/trainer/rl/examples/reward_function"
rewards = {}


def reward(name, response, truth):
    if name not in rewards:
        path = f"{REWARDS}/{name}.py"
        tree = ast.parse((checkout / path).read_text())
        rewards[name] = lift(path, set().union(*map(names_of, tree.body)))
    space = vars(rewards[name])
    score = next(space[key] for key in space if key.endswith("compute_score"))(response, truth)
    return [score["overall"], score["format"], score["accuracy"]]


_judge = None


def judge(name, truth, answer):
    global _judge
    if _judge is None:
        space = lift("src/vlmsearch/reward_funcs/judge.py", ["Judge"])
        _judge = space.Judge
    return float(_judge(None, name).judge(truth, answer, ""))


def literal(text):
    """What Python makes of a text, where that is a tuple, list or set of ints."""
    try:
        value = ast.literal_eval(text)
    except Exception:
        return None
    kind = type(value).__name__
    if kind not in ("tuple", "list", "set") or not all(isinstance(one, int) for one in value):
        return None
    return [kind, [int(one) for one in value]]


# --- trees ------------------------------------------------------------------------------------


def mixed(text):
    """FNV-1a over UTF-8, as scripted.ts has it."""
    value = 0x811C9DC5
    for byte in text.encode():
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value


class Scripted:
    """Says what a hash of the path and of how often it was asked picks from its words (scripted.ts)."""

    def __init__(self, thoughts, answers, share, forced):
        self.thoughts, self.answers, self.share, self.forced = thoughts, answers, share, forced
        self.asked = defaultdict(int)

    def generate_single_thought(self, system_prompt, previous_thoughts, force_final):
        told = [re.sub("</?(think|answer)>", "", text).strip() for text, _ in previous_thoughts[1:]]
        path = "\x1f".join([*told, str(int(force_final))])
        self.asked[path] += 1
        pick = mixed(f"{path}\x1f{self.asked[path]}")
        if force_final:
            return self.forced[pick % len(self.forced)]
        words = self.answers if (pick >> 8) % 100 < self.share else self.thoughts
        return words[pick % len(words)]


_search = None


def tree(question, truth, settings, words, match):
    global _search
    if _search is None:
        stub = types.SimpleNamespace(open=lambda path: None, Image=None)
        _search = lift(
            "src/vlmsearch/tree_search/mcts_search.py",
            ["serialize_tree", "TreeNode", "MonteCarloTreeSearch"],
            np=None,
            Image=stub,
            tqdm=lambda steps, **_: steps,
        )
    judge("string_match", "a", "b")
    search = _search.MonteCarloTreeSearch(
        llm_wrapper=Scripted(**words), judge=_judge(None, match), system_prompt="", **settings
    )
    return search.search(question, "", truth)[0]["tree"]


# --- chains and splices -----------------------------------------------------------------------

BUILDER = "scripts/mcts/build_reasoning_chains_from_mcts.py"
SPLICER = "scripts/mcts/build_reasoning_chains_from_mcts_multiturn.py"
_builder = None
_splicer = None


def chains(record, correction):
    """The builder's set of chains; what its main does to `<image>` in them is done here too."""
    global _builder
    if _builder is None:
        _builder = lift(BUILDER, ["process_text_chain", "build_reasoning_chains_from_rollouts"])
    texts = set(_builder.build_reasoning_chains_from_rollouts(record["tree"], correction))
    plain = [text.replace("<image>", "").replace("</image>", "") if "<image>" in text else text for text in texts]
    return sorted(plain)


class Blank:
    """A picture of which nothing but its size is looked at."""

    def __init__(self, size):
        self.size = size
        self.width, self.height = size

    def convert(self, mode):
        return self

    def crop(self, box):
        return Blank((box[2] - box[0], box[3] - box[1]))


class Draws:
    """Draws of the splicer: whether the first call moves, and to which of the places it may have."""

    def __init__(self, place):
        self.place = place

    def random(self):
        return 1.0 if self.place is None else 0.0

    def choice(self, items):
        return items[self.place % len(items)]


def resized(picture):
    """fetch_image of a blank picture: sizes alone."""
    if "min_pixels" not in picture:
        return picture["image"]
    width, height = picture["image"].size
    budget = {key: picture[key] for key in ("min_pixels", "max_pixels")}
    height, width = fetch_module().smart_resize(height, width, **budget)
    return Blank((width, height))


def splice(text, size, budget, place):
    """Thought and place of each call, and the answer; null where the splicer gives the chain up."""
    global _splicer
    if _splicer is None:
        _splicer = lift(
            SPLICER,
            [
                "COORD_RE",
                "SENT_END_RE",
                "extract_coordinates",
                "extract_final_answer",
                "_get_point_crop",
                "_next_sentence_end",
                "convert_chain_to_dialogue",
            ],
            Path=pathlib.Path,
            ImageDraw=None,
            fetch_image=resized,
            img_to_bytes_png=lambda image: b"",
        )
    space = vars(_splicer)["convert_chain_to_dialogue"].__globals__
    space["Image"] = types.SimpleNamespace(open=lambda path: Blank(tuple(size)), Resampling=None, Image=None)
    space["random"] = Draws(place)
    pixels = {} if budget is None else {"min_pixels": budget[0], "max_pixels": budget[1]}
    made = _splicer.convert_chain_to_dialogue(
        text, "", "", max_turns=5, shuffle_prob=0.2, sys_prompt="", draw_dot=False, **pixels
    )
    if made is None:
        return None
    said = [message["content"] for message in made["messages"] if message["role"] == "assistant"]
    calls = []
    for turn in said[:-1]:
        think, call = re.fullmatch(r"<think> (.*) </think>\n<tool_call>\n(.*)\n</tool_call>", turn, re.DOTALL).groups()
        calls.append([think, json.loads(call)["arguments"]["coordinate"]])
    return {"calls": calls, "answer": said[-1].split("\n<answer>", 1)[1].removesuffix("</answer>").strip()}


# --- masks ------------------------------------------------------------------------------------

ROLLOUT = "src/trainer/rl/verl/workers/rollout/multiturn/rollout_multiturn.py"
OFFLINE = "src/trainer/offline/src/llamafactory/data"
_tokenizer = None
_rollout = None
_encoder = None


def tokenizer():
    global _tokenizer
    if _tokenizer is None:
        from transformers import PreTrainedTokenizerFast

        _tokenizer = PreTrainedTokenizerFast.from_pretrained(here.parents[1] / "src/text/fixtures/tokenizer")
    return _tokenizer


def rl_mask(ids, prompt):
    global _rollout
    if _rollout is None:
        import torch

        space = lift(ROLLOUT, ["RolloutMultiturn"], torch=torch, contextmanager=contextlib.contextmanager)
        settings = types.SimpleNamespace(crop_size=1, offset=1, stop_strings="")
        _rollout = space.RolloutMultiturn(None, settings, tokenizer())
    return _rollout._response_loss_mask(ids, "cpu", num_mask_left=prompt).tolist()


def sft_mask(messages, system):
    """Token ids and which of them are learned, of the warm start's own encoder."""
    global _encoder
    if _encoder is None:
        _encoder = make_encoder()
    paired = [{"role": one["role"], "content": one["content"]} for one in messages]
    ids, labels = _encoder._encode_data_example(paired[:-1], paired[-1:], system, None, [], [], [])
    return {"ids": ids, "mask": [int(label != -100) for label in labels]}


def make_encoder():
    identity = lambda function: function
    formats = lift(
        f"{OFFLINE}/formatter.py",
        ["Formatter", "EmptyFormatter", "StringFormatter"],
        ABC=ABC,
        abstractmethod=abstractmethod,
        dataclass=dataclass,
        field=field,
        override=identity,
    )
    role = types.SimpleNamespace(USER="user", ASSISTANT="assistant", OBSERVATION="observation", FUNCTION="function")
    # "dataclass" reads the annotations as text, so the names in them need no definition.
    made = lift(f"{OFFLINE}/template.py", ["Template"], dataclass=dataclass, override=identity, Role=role)
    registered = {}
    source = ast.parse((checkout / OFFLINE / "template.py").read_text())
    for node in ast.walk(source):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "register_template":
            if any(word.arg == "name" and getattr(word.value, "value", "") == "qwen2_vl" for word in node.keywords):
                code = compile(ast.Expression(node), "template.py", "eval")
                other = lambda **_: None
                eval(
                    code,
                    {
                        "register_template": lambda **words: registered.update(words),
                        "StringFormatter": formats.StringFormatter,
                        "FunctionFormatter": other,
                        "ToolFormatter": other,
                        "get_mm_plugin": lambda **_: pictures,
                    },
                )
    template = made.Template(
        **{
            **dict.fromkeys(made.Template.__dataclass_fields__),
            **{key: value for key, value in registered.items() if key in made.Template.__dataclass_fields__},
            "format_prefix": formats.EmptyFormatter(),
            "efficient_eos": False,
        }
    )
    infer = lift(f"{OFFLINE}/processor/processor_utils.py", ["infer_seqlen"])
    space = lift(
        f"{OFFLINE}/processor/supervised.py",
        ["SupervisedDatasetProcessor"],
        DatasetProcessor=object,
        dataclass=identity,
        infer_seqlen=infer.infer_seqlen,
        IGNORE_INDEX=-100,
    )
    encoder = space.SupervisedDatasetProcessor()
    encoder.template, encoder.tokenizer, encoder.processor = template, tokenizer(), None
    encoder.data_args = types.SimpleNamespace(mask_history=False, train_on_prompt=False, cutoff_len=8192)
    return encoder


# Messages come with the placeholders of their pictures written out, so nothing is left to do for them.
pictures = types.SimpleNamespace(
    process_messages=lambda messages, *_: messages,
    process_token_ids=lambda ids, labels, *_: (ids, labels),
)


# --- calls and crops --------------------------------------------------------------------------

_calls = None


def rollout_functions():
    global _calls
    if _calls is None:
        from PIL import Image, ImageDraw

        names = ["_parse_coordinate", "_get_point_crop"]
        fetch = fetch_module().fetch_image
        _calls = lift(ROLLOUT, names, Image=Image, ImageDraw=ImageDraw, fetch_image=fetch)
    return _calls


def call(body, size):
    """The coordinate that a call has, and the box that is cut from a picture of `size` for it."""
    from PIL import Image

    published = rollout_functions()
    coordinate = published._parse_coordinate(body)
    boxes = []
    crop = Image.Image.crop
    Image.Image.crop = lambda image, box: boxes.append(box) or crop(image, box)
    try:
        picture = Image.new("RGB", tuple(size))
        published._get_point_crop(picture, coordinate, offset=20, crop_size=56, draw_dot=False)
        box = [round(side) for side in boxes[0]]
    except Exception:
        box = None
    finally:
        Image.Image.crop = crop
    return {"coordinate": counted(coordinate), "box": box}


def counted(value):
    """Python counts True and False among the numbers of a coordinate; JSON has no NaN."""
    if isinstance(value, list):
        return [spelled(int(one) if isinstance(one, bool) else one) for one in value]
    return spelled(value)


def spelled(value):
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, dict):
        return {key: spelled(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [spelled(entry) for entry in value]
    return value


_noise = {}


def noise(width, height, seed):
    """src/image/fixtures/noise.ts"""
    if (width, height, seed) not in _noise:
        import numpy as np
        from PIL import Image

        x = (np.arange(width * height * 3, dtype=np.uint64) + seed * 1_000_003) & 0xFFFFFFFF
        for _ in range(2):
            x = ((x ^ (x >> 16)) * 0x45D9F3B) & 0xFFFFFFFF
        x ^= x >> 16
        levels = np.where(x & 256, 255, 0) if seed % 2 else x & 255
        data = levels.astype(np.uint8).reshape(height, width, 3)
        _noise[width, height, seed] = Image.fromarray(data)
    return _noise[width, height, seed]


def crop(picture, point, offset, side, dot):
    """Size and digest of the crop that the rollout shows."""
    image = rollout_functions()._get_point_crop(
        noise(*picture).copy(), point, offset=offset, crop_size=side, draw_dot=dot
    )
    return {"size": list(image.size), "sha256": hashlib.sha256(image.tobytes()).hexdigest()}


kinds = {
    "literals": literal,
    "rewards": reward,
    "judges": judge,
    "trees": tree,
    "chains": chains,
    "splices": splice,
    "rl-masks": rl_mask,
    "sft-masks": sft_mask,
    "calls": call,
    "crops": crop,
}

if __name__ == "__main__":
    for line in sys.stdin:
        kind, given = json.loads(line)
        try:
            out = kinds[kind](*given)
        except Exception as error:
            print(kind, given, repr(error), file=sys.stderr)
            out = {"raises": type(error).__name__}
        sys.stdout.write(json.dumps(out, allow_nan=False) + "\n")
