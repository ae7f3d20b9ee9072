#!/usr/bin/env python3
"""Writes a Llama-architecture GGUF as a Hugging Face checkpoint folder, dequantised to bfloat16.

usage: gguf2hf.py IN.gguf OUT_DIR
Writes config.json, model.safetensors, tokenizer.json, tokenizer_config.json; the same bytes every time.
needs: numpy, gguf
"""
import json
import pathlib
import struct
import sys

import numpy as np
from gguf import GGUFReader, dequantize

GLOBAL_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
BLOCK_NAMES = {
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
}
SPECIAL, USER_DEFINED = 3, 4  # token types of the format


class Metadata:
    def __init__(self, reader):
        self.reader = reader

    def get(self, key, default=None):
        field = self.reader.get_field(key)
        return default if field is None else field.contents()

    def llama(self, key, default=None):
        return self.get(f"llama.{key}", default)


def main():
    source, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    reader = GGUFReader(source)
    metadata = Metadata(reader)
    if metadata.get("general.architecture") != "llama":
        sys.exit(f"{source}: architecture {metadata.get('general.architecture')!r}; accepted: 'llama'")
    folder.mkdir(parents=True, exist_ok=True)
    weights = read_weights(reader, metadata)
    write_safetensors(folder / "model.safetensors", weights)
    write_json(folder / "config.json", config(metadata, tied="lm_head.weight" not in weights))
    write_json(folder / "tokenizer.json", tokenizer(metadata))
    write_json(folder / "tokenizer_config.json", tokenizer_config(metadata))


def read_weights(reader, metadata):
    heads = metadata.llama("attention.head_count")
    key_value_heads = metadata.llama("attention.head_count_kv")
    weights = {}
    for tensor in reader.tensors:
        weight = dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        weight = weight.reshape([int(n) for n in reversed(tensor.shape)])
        if tensor.name in GLOBAL_NAMES:
            name = GLOBAL_NAMES[tensor.name]
        else:
            _, block, rest = tensor.name.split(".", 2)
            stem, suffix = rest.rsplit(".", 1)
            name = f"model.layers.{block}.{BLOCK_NAMES[stem]}.{suffix}"
            if stem in ("attn_q", "attn_k"):
                weight = halves(weight, heads if stem == "attn_q" else key_value_heads)
        weights[name] = np.ascontiguousarray(weight)
    return weights


def halves(weight, heads):
    """From the format's rotary order (pairs) back to Hugging Face's (halves)."""
    rows = weight.shape[0] // heads // 2
    return weight.reshape(heads, rows, 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def bfloat16(weight):
    bits = weight.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2").tobytes()  # to nearest even


def write_safetensors(path, weights):
    header, offset, blobs = {"__metadata__": {"format": "pt"}}, 0, []
    for name in sorted(weights):
        blob = bfloat16(weights[name])
        shape = list(weights[name].shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + len(blob)]}
        offset += len(blob)
        blobs.append(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.writelines(blobs)


def config(metadata, tied):
    heads, hidden = metadata.llama("attention.head_count"), metadata.llama("embedding_length")
    return {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama",
        "hidden_size": hidden, "intermediate_size": metadata.llama("feed_forward_length"),
        "num_hidden_layers": metadata.llama("block_count"), "num_attention_heads": heads,
        "num_key_value_heads": metadata.llama("attention.head_count_kv"),
        "head_dim": metadata.llama("rope.dimension_count", hidden // heads),
        "vocab_size": len(metadata.get("tokenizer.ggml.tokens")),
        "max_position_embeddings": metadata.llama("context_length"),
        "rms_norm_eps": round(float(metadata.llama("attention.layer_norm_rms_epsilon")), 12),
        "rope_theta": float(metadata.llama("rope.freq_base", 10000.0)),
        "hidden_act": "silu", "attention_bias": False, "mlp_bias": False, "tie_word_embeddings": tied,
        "bos_token_id": metadata.get("tokenizer.ggml.bos_token_id"),
        "eos_token_id": metadata.get("tokenizer.ggml.eos_token_id"),
        "initializer_range": 0.02, "torch_dtype": "bfloat16",
    }


def tokenizer(metadata):
    if metadata.get("tokenizer.ggml.pre") != "smollm":
        sys.exit(f"pre-tokenizer {metadata.get('tokenizer.ggml.pre')!r}; accepted: 'smollm'")
    tokens, types = metadata.get("tokenizer.ggml.tokens"), metadata.get("tokenizer.ggml.token_type")
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    digits = {"type": "Digits", "individual_digits": True}
    added = [
        {"id": i, "content": token, "single_word": False, "lstrip": False, "rstrip": False,
         "normalized": False, "special": types[i] == SPECIAL}
        for i, token in enumerate(tokens) if types[i] in (SPECIAL, USER_DEFINED)
    ]
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [digits, byte_level]},
        "post_processor": None, "decoder": {**byte_level, "add_prefix_space": True},
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
            "vocab": {token: i for i, token in enumerate(tokens)},
            "merges": [merge.split(" ") for merge in metadata.get("tokenizer.ggml.merges")],
        },
    }


def tokenizer_config(metadata):
    tokens = metadata.get("tokenizer.ggml.tokens")
    named = {}
    for role, key in [("bos", "bos"), ("eos", "eos"), ("pad", "padding"), ("unk", "unknown")]:
        token = metadata.get(f"tokenizer.ggml.{key}_token_id")
        named[f"{role}_token"] = None if token is None else tokens[token]
    return {
        "tokenizer_class": "PreTrainedTokenizerFast", **named,
        "model_max_length": metadata.llama("context_length"), "clean_up_tokenization_spaces": False,
        "chat_template": metadata.get("tokenizer.chat_template"),
    }


def write_json(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n")


main()
