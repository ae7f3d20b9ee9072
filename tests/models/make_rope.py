#!/usr/bin/env python3
"""Makes runner/fixtures/rope.json: what transformers makes of many ways to write rotary positions.

usage: make_rope.py [OUT]     (default: runner/fixtures/rope.json)
needs: the environment of venv.sh
Each case: fields of a config.json beside its sizes, and the inverse frequencies (float32) and the factor on cosines and sines.
"""
import json
import pathlib
import sys
import tempfile

import transformers
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

here = pathlib.Path(__file__).resolve().parent
out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else here.parent.parent / "runner" / "fixtures" / "rope.json"

LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512}
CASES = {
    "neither spelling": {},
    "the old base": {"rope_theta": 500000.0},
    "the new base": {"rope_parameters": {"rope_theta": 500000, "rope_type": "default"}},
    "a base in both places": {"rope_theta": 7.0, "rope_parameters": {"rope_theta": 500.0, "rope_type": "default"}},
    "both spellings": {"rope_theta": 900.0, "rope_scaling": {"type": "linear", "factor": 2.0}, "rope_parameters": {"rope_theta": 500.0}},
    "an empty old spelling": {"rope_scaling": {}, "rope_parameters": {"rope_theta": 500.0}},
    "null in the old spelling": {"rope_scaling": None, "rope_theta": 500.0},
    "type beside rope_type": {"rope_scaling": {"type": "yarn", "rope_type": "linear", "factor": 3.0}},
    "linear": {"rope_parameters": {"rope_type": "linear", "factor": 2.5, "rope_theta": 10000.0}},
    "llama3 as in Llama-3.1": {
        "rope_theta": 500000.0, "rope_scaling": LLAMA3 | {"original_max_position_embeddings": 8192},
        "head_dim": 128, "max_position_embeddings": 131072},
    "llama3 as in Llama-3.2": {
        "rope_parameters": LLAMA3 | {"rope_theta": 500000.0, "factor": 32.0, "original_max_position_embeddings": 8192},
        "head_dim": 64, "max_position_embeddings": 131072},
    "llama3 without its original context": {"rope_parameters": LLAMA3 | {"rope_theta": 500.0}},
    "an original context outside": {
        "original_max_position_embeddings": 256, "rope_parameters": LLAMA3 | {"original_max_position_embeddings": 64, "rope_theta": 500.0}},
    "yarn as in Qwen": {
        "rope_theta": 1000000.0, "rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768},
        "head_dim": 128, "max_position_embeddings": 131072},
    "yarn without its original context": {"rope_scaling": {"type": "yarn", "factor": 4.0}},
    "yarn with an attention factor": {"rope_parameters": YARN | {"attention_factor": 1.25}},
    "yarn with both mscales": {"rope_parameters": YARN | {"mscale": 1.0, "mscale_all_dim": 0.707}},
    "yarn with one mscale": {"rope_parameters": YARN | {"mscale": 0.5}},
    "yarn with a zero mscale": {"rope_parameters": YARN | {"mscale": 0, "mscale_all_dim": 0.5}},
    "yarn with other betas": {"rope_parameters": YARN | {"beta_fast": 16, "beta_slow": 2.5}},
    "yarn with zero betas": {"rope_parameters": YARN | {"beta_fast": 0, "beta_slow": 0}},
    "yarn with uneven bounds": {"rope_parameters": YARN | {"truncate": False}},
    "yarn with a null factor": {"rope_parameters": YARN | {"factor": None}},
    "yarn with a factor of one": {"rope_parameters": YARN | {"factor": 1}},
    "yarn with one bound": {"rope_parameters": YARN | {"original_max_position_embeddings": 6}},
    "yarn with an original context outside": {"original_max_position_embeddings": 128, "rope_parameters": YARN},
}
SIZES = dict(
    model_type="llama", vocab_size=64, hidden_size=64, intermediate_size=8, num_hidden_layers=1, num_attention_heads=4,
    rms_norm_eps=1e-5, hidden_act="silu", head_dim=16, max_position_embeddings=1024,
)

cases = []
for name, fields in CASES.items():
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "config.json").write_text(json.dumps(SIZES | fields))
        embedding = LlamaRotaryEmbedding(transformers.AutoConfig.from_pretrained(folder))
    cases.append({
        "name": name, "fields": fields, "frequencies": embedding.inv_freq.tolist(), "factor": float(embedding.attention_scaling),
    })
lines = ",\n ".join(json.dumps(case) for case in cases)
out.write_text(f'{{"transformers": "{transformers.__version__}", "sizes": {json.dumps(SIZES)}, "cases": [\n {lines}\n]}}\n')
print(out, len(cases), "cases")
