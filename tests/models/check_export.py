#!/usr/bin/env python3
"""Loads an exported folder with transformers and compares it with what the runner computed.

usage: check_export.py FOLDER EXPECTED.safetensors    (tensors: input_ids [B, T], logits [B, T, V])
Prints one JSON object: the largest logit differences of several ways to run the model, relative to
the largest logit, and whether greedy generation with each kind of cache equals recomputation.
"""
import json
import sys
import tempfile

import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM

folder, expected = sys.argv[1], load_file(sys.argv[2])
ids, logits = expected["input_ids"].long(), expected["logits"]
NEW_TOKENS = 8


def load(where, attention):
    return AutoModelForCausalLM.from_pretrained(
        where, trust_remote_code=True, dtype=torch.float32, attn_implementation=attention
    ).eval()


def difference(found):
    return ((found - logits).abs().max() / logits.abs().max()).item()


def token_by_token(model):
    cache, out = None, []
    for at in range(ids.shape[1]):
        step = model(ids[:, at : at + 1], past_key_values=cache, use_cache=True)
        cache = step.past_key_values
        out.append(step.logits)
    return torch.cat(out, 1)


def left_padded(model):
    pad = torch.zeros(ids.shape[0], 3, dtype=torch.long)
    mask = torch.cat([torch.zeros_like(pad), torch.ones_like(ids)], 1)
    return model(torch.cat([pad, ids], 1), attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp(min=0)).logits[:, 3:]


def recomputed(model):
    row = ids[:1]
    for _ in range(NEW_TOKENS):
        row = torch.cat([row, model(row, use_cache=False).logits[:, -1:].argmax(-1)], 1)
    return row


def generated(model, **options):
    return model.generate(
        ids[:1], attention_mask=torch.ones_like(ids[:1]), do_sample=False, max_new_tokens=NEW_TOKENS,
        eos_token_id=-1, pad_token_id=0, **options,
    )


with torch.no_grad():
    config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
    model = load(folder, "sdpa")
    greedy = recomputed(model)
    report = {
        "layers": config.num_hidden_layers,
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "sdpa": difference(model(ids).logits),
        "eager": difference(load(folder, "eager")(ids).logits),
        "token_by_token": difference(token_by_token(model)),
        "left_padded": difference(left_padded(model)),
        "dynamic_cache": torch.equal(generated(model), greedy),
        "static_cache": torch.equal(generated(model, cache_implementation="static"), greedy),
    }
    with tempfile.TemporaryDirectory() as saved:
        model.save_pretrained(saved)
        report["saved_again"] = difference(load(saved, "sdpa")(ids).logits)
print(json.dumps(report))
