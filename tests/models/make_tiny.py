#!/usr/bin/env python3
"""Makes the tiny checkpoints under runner/fixtures: random weights, real architectures, reference logits.

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
# the later ones are smaller, in bfloat16: what matters of them is what is special to their family
SMALL = dict(num_attention_heads=4, num_key_value_heads=2, head_dim=8, intermediate_size=16)


def rope(theta, **scaling):
    return {"rope_theta": theta, "rope_type": "default"} | scaling


MODELS = {
    # grouped-query attention, tied embeddings, a head size that hidden / heads does not give
    "tiny-gqa": ("Llama", dict(
        num_attention_heads=6, num_key_value_heads=2, head_dim=8, tie_word_embeddings=True, rope_parameters=rope(500.0))),
    # one key-value head per query head, an output matrix of its own, sharded on disk
    "tiny-mha": ("Llama", dict(
        num_attention_heads=4, num_key_value_heads=4, head_dim=6, tie_word_embeddings=False, rope_parameters=rope(10000.0))),
    # every block looks back over a window that is shorter than the reference sequence
    "tiny-mistral": ("Mistral", SMALL | dict(sliding_window=7, tie_word_embeddings=False, rope_parameters=rope(500.0))),
    # biases of q, k and v; a window in the last two blocks only; no head_dim, which the family does not write
    "tiny-qwen2": ("Qwen2", SMALL | dict(
        head_dim=None, use_sliding_window=True, sliding_window=6, max_window_layers=1, tie_word_embeddings=True,
        rope_parameters=rope(500.0))),
    # norms of every query and key; no window
    "tiny-qwen3": ("Qwen3", SMALL | dict(tie_word_embeddings=False, rope_parameters=rope(500.0))),
    # the scalings, each with frequencies left alone, in between and scaled whole
    "tiny-llama3": ("Llama", SMALL | dict(tie_word_embeddings=True, rope_parameters=rope(
        500.0, rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32))),
    "tiny-yarn": ("Llama", SMALL | dict(max_position_embeddings=128, tie_word_embeddings=True, rope_parameters=rope(
        500.0, rope_type="yarn", factor=4.0, original_max_position_embeddings=32))),
    "tiny-linear": ("Llama", SMALL | dict(tie_word_embeddings=True, rope_parameters=rope(500.0, rope_type="linear", factor=4.0))),
}

for seed, (name, (family, shape)) in enumerate(MODELS.items()):
    torch.manual_seed(seed)
    small = "intermediate_size" in shape
    shape = {key: value for key, value in (BASE | shape).items() if value is not None}
    config = getattr(transformers, f"{family}Config")(**shape)
    model = getattr(transformers, f"{family}ForCausalLM")(config).eval()
    with torch.no_grad():  # fresh norms are all ones and fresh biases all zero, which would hide that they are never applied
        for key, weight in model.named_parameters():
            if "norm" in key:
                weight.copy_(1 + 0.3 * torch.randn_like(weight))
            if "bias" in key:
                weight.copy_(0.5 * torch.randn_like(weight))
            if small:
                weight.copy_(weight.bfloat16())
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder, max_shard_size="20KB" if name == "tiny-mha" else "1GB")
    (folder / "generation_config.json").unlink(missing_ok=True)
    if small:  # exactly the weights above, in half the bytes
        tied = {"lm_head.weight"} if config.tie_word_embeddings else set()
        halved = {key: weight.bfloat16().contiguous() for key, weight in model.state_dict().items() if key not in tied}
        save_file(halved, folder / "model.safetensors", metadata={"format": "pt"})
    ids = torch.randint(0, config.vocab_size, (2, 20))
    with torch.no_grad():
        logits = model(ids).logits
        hidden = model.model(ids).last_hidden_state
    save_file({"input_ids": ids.to(torch.int32), "logits": logits.contiguous(), "hidden_states": hidden.contiguous()},
              folder / "reference.safetensors")
    made_by = {"script": "tests/models/make_tiny.py", "seed": seed, "torch": torch.__version__, "transformers": transformers.__version__}
    (folder / "made_by.json").write_text(json.dumps(made_by, indent=1) + "\n")
    print(folder, sum(p.numel() for p in model.parameters()), "parameters")
