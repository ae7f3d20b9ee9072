#!/usr/bin/env python3
"""Loads exported folders with transformers and compares them with what the runner computed.

usage: check_export.py FOLDER...    (each holds expected.safetensors: input_ids [B, T], logits [B, T, V], continued [1, T + N])
Prints one JSON object a folder and line: the largest logit differences of several ways to run the
model, relative to the largest logit, and whether greedy generation of N tokens with each kind of
cache, and by recomputation, gives the runner's own tokens.
"""
import json
import pathlib
import sys
import tempfile

import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM

def load(where, attention):
    return AutoModelForCausalLM.from_pretrained(
        where, trust_remote_code=brings_code(where), dtype=torch.float32, attn_implementation=attention
    ).eval()


def brings_code(where):
    """Whether there is code to trust; without it transformers builds its own classes or none."""
    return any(pathlib.Path(where).glob("*.py"))


def token_by_token(model, ids):
    cache, out = None, []
    for at in range(ids.shape[1]):
        step = model(ids[:, at : at + 1], past_key_values=cache, use_cache=True)
        cache = step.past_key_values
        out.append(step.logits)
    return torch.cat(out, 1)


def left_padded(model, ids):
    pad = torch.zeros(ids.shape[0], 3, dtype=torch.long)
    mask = torch.cat([torch.zeros_like(pad), torch.ones_like(ids)], 1)
    return model(torch.cat([pad, ids], 1), attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp(min=0)).logits[:, 3:]


def recomputed(model, row, new_tokens):
    for _ in range(new_tokens):
        row = torch.cat([row, model(row, use_cache=False).logits[:, -1:].argmax(-1)], 1)
    return row


def generated(model, row, new_tokens, **options):
    return model.generate(
        row, attention_mask=torch.ones_like(row), do_sample=False, max_new_tokens=new_tokens, use_cache=True,
        eos_token_id=-1, pad_token_id=0, **options,
    )


def check(folder):
    expected = load_file(pathlib.Path(folder) / "expected.safetensors")
    ids, logits = expected["input_ids"].long(), expected["logits"]
    row, continued = ids[:1], expected["continued"].long()
    new_tokens = continued.shape[1] - row.shape[1]

    def difference(found):
        return ((found - logits).abs().max() / logits.abs().max()).item()

    config = AutoConfig.from_pretrained(folder, trust_remote_code=brings_code(folder))
    model = load(folder, "sdpa")
    report = {
        "layers": config.num_hidden_layers,
        "stock_classes": type(model).__module__.startswith("transformers.models."),
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "sdpa": difference(model(ids).logits),
        "eager": difference(load(folder, "eager")(ids).logits),
        "token_by_token": difference(token_by_token(model, ids)),
        "left_padded": difference(left_padded(model, ids)),
        "recomputed": torch.equal(recomputed(model, row, new_tokens), continued),
        "dynamic_cache": torch.equal(generated(model, row, new_tokens), continued),
        "static_cache": torch.equal(generated(model, row, new_tokens, cache_implementation="static"), continued),
    }
    with tempfile.TemporaryDirectory() as saved:
        model.save_pretrained(saved)
        report["saved_again"] = difference(load(saved, "sdpa")(ids).logits)
    return report


with torch.no_grad():
    for folder in sys.argv[1:]:
        print(json.dumps(check(folder)))
