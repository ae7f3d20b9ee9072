#!/usr/bin/env python3
"""Makes the tiny Llama checkpoints under runner/fixtures: random weights, real architecture, reference logits.

usage: make_tiny.py [OUT]     (default: runner/fixtures)
needs: the environment of venv.sh
"""
import json
import pathlib
import sys

import torch
import transformers
from safetensors.torch import save_file

here = pathlib.Path(__file__).resolve().parent
out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else here.parent.parent / "runner" / "fixtures"

BASE = dict(
    vocab_size=96, hidden_size=24, intermediate_size=40, num_hidden_layers=3, rms_norm_eps=1e-5,
    max_position_embeddings=64, bos_token_id=1, eos_token_id=2, initializer_range=0.25,
)
MODELS = {
    # grouped-query attention, tied embeddings, a head size that hidden / heads does not give
    "tiny-gqa": dict(num_attention_heads=6, num_key_value_heads=2, head_dim=8, tie_word_embeddings=True, rope_theta=500.0),
    # one key-value head per query head, an output matrix of its own, sharded on disk
    "tiny-mha": dict(num_attention_heads=4, num_key_value_heads=4, head_dim=6, tie_word_embeddings=False, rope_theta=10000.0),
}

for seed, (name, shape) in enumerate(MODELS.items()):
    torch.manual_seed(seed)
    theta = shape.pop("rope_theta")
    config = transformers.LlamaConfig(**BASE, **shape, rope_parameters={"rope_theta": theta, "rope_type": "default"})
    model = transformers.LlamaForCausalLM(config).eval()
    with torch.no_grad():  # norms of a fresh model are all ones, which would hide a norm that is never applied
        for key, weight in model.named_parameters():
            if "norm" in key:
                weight.copy_(1 + 0.3 * torch.randn_like(weight))
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder, max_shard_size="20KB" if name == "tiny-mha" else "1GB")
    (folder / "generation_config.json").unlink(missing_ok=True)
    ids = torch.randint(0, config.vocab_size, (2, 20))
    with torch.no_grad():
        logits = model(ids).logits
        hidden = model.model(ids).last_hidden_state
    save_file({"input_ids": ids.to(torch.int32), "logits": logits.contiguous(), "hidden_states": hidden.contiguous()},
              folder / "reference.safetensors")
    made_by = {"script": "tests/models/make_tiny.py", "seed": seed, "torch": torch.__version__, "transformers": transformers.__version__}
    (folder / "made_by.json").write_text(json.dumps(made_by, indent=1) + "\n")
    print(folder, sum(p.numel() for p in model.parameters()), "parameters")
