#!/usr/bin/env python3
"""Makes runner/fixtures/smollm2-argmax.safetensors: what transformers predicts on 4,096 tokens of prose.

usage: make_smollm2_argmax.py
needs: the environment of venv.sh, fetch_smollm2.sh, fetch_text.sh
Holds input_ids [8, 512] and argmax [8, 512] (int32), computed in float32.
"""
import json
import pathlib

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

root = pathlib.Path(__file__).resolve().parent.parent.parent
folder = root / ".cache" / "models" / "smollm2-135m"
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
with open(root / ".cache" / "text" / "sotu.jsonl", encoding="utf-8") as lines:
    text = json.loads(next(lines))["text"] + "\n" + "\n".join(json.loads(next(lines))["text"] for _ in range(8))
ids = torch.tensor(tokenizer.encode(text, add_special_tokens=False).ids[: 8 * 512]).view(8, 512)
with torch.no_grad():
    argmax = torch.cat([model(row[None]).logits.argmax(-1) for row in ids])
save_file({"input_ids": ids.to(torch.int32), "argmax": argmax.to(torch.int32)},
          root / "runner" / "fixtures" / "smollm2-argmax.safetensors")
