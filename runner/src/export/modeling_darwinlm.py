"""Llama whose layers differ in heads and in mlp width, as DarwinLM writes it.

Each layer is built from `config.per_layer_config[i]`: `num_attention_heads`, `num_key_value_heads`,
`intermediate_size`, `skip: ["mlp"]` where the mlp was removed, and `key_value_index` where query
heads were removed unevenly: the key-value head that each remaining query head reads. A removed
attention is one head of zeros: engines expect every layer to call attention.

Needs transformers 5.16 or later.
"""

from huggingface_hub.dataclasses import strict
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, LlamaModel
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.llama.modeling_llama import (
    LlamaAttention,
    LlamaDecoderLayer,
    LlamaMLP,
    LlamaRMSNorm,
    LlamaRotaryEmbedding,
    apply_rotary_pos_emb,
    eager_attention_forward,
)


@strict
class DarwinLMConfig(LlamaConfig):
    model_type = "darwinlm"

    head_dim: int | None = None
    key_value_index: list[int] | None = None

    def validate_architecture(self):
        """Replaces a check of the global number of heads, which no layer needs to have."""
        if self.is_heterogeneous and not self.head_dim:  # transformers also makes one without any fields
            raise ValueError(f"head_dim is {self.head_dim}; it must be written, layers differ in heads")


class DarwinLMAttention(LlamaAttention):
    def __init__(self, config, layer_config, layer_idx):
        super().__init__(layer_config, layer_idx)
        self.config = config
        self.key_value_index = layer_config.key_value_index
        if self.key_value_index is not None:
            self.num_key_value_groups = 1

    def forward(
        self, hidden_states, position_embeddings=None, attention_mask=None, past_key_values=None, **kwargs
    ):
        if self.key_value_index is None:
            return super().forward(
                hidden_states, position_embeddings, attention_mask, past_key_values, **kwargs
            )
        shape = hidden_states.shape[:-1]
        query, key, value = (
            projection(hidden_states).view(*shape, -1, self.head_dim)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        if hasattr(self, "q_norm"):
            query, key = self.q_norm(query), self.k_norm(key)
        query, key, value = (heads.transpose(1, 2) for heads in (query, key, value))
        query, key = apply_rotary_pos_emb(query, key, *position_embeddings)
        if past_key_values is not None:
            key, value = past_key_values.update(key, value, self.layer_idx)
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention_forward
        )
        output, weights = attend(
            self,
            query,
            key[:, self.key_value_index],
            value[:, self.key_value_index],
            attention_mask,
            dropout=self.attention_dropout if self.training else 0.0,
            scaling=self.scaling,
            # flash attention makes its own mask
            sliding_window=getattr(self, "sliding_window", getattr(self.config, "sliding_window", None)),
            **kwargs,
        )
        return self.o_proj(output.reshape(*shape, -1).contiguous()), weights


class DarwinLMDecoderLayer(LlamaDecoderLayer):
    def __init__(self, config, layer_idx):
        # LlamaDecoderLayer's own would build the modules from the global sizes
        GradientCheckpointingLayer.__init__(self)
        layer_config = config.per_layer_config[layer_idx]
        self.hidden_size = config.hidden_size
        self.input_layernorm = LlamaRMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.self_attn = DarwinLMAttention(config, layer_config, layer_idx)
        self.has_mlp = "mlp" not in getattr(layer_config, "skip", [])
        if self.has_mlp:
            self.post_attention_layernorm = LlamaRMSNorm(config.hidden_size, eps=config.rms_norm_eps)
            self.mlp = LlamaMLP(layer_config)

    def forward(self, hidden_states, **kwargs):
        attended, _ = self.self_attn(hidden_states=self.input_layernorm(hidden_states), **kwargs)
        hidden_states = hidden_states + attended
        if self.has_mlp:
            hidden_states = hidden_states + self.mlp(self.post_attention_layernorm(hidden_states))
        return hidden_states


class DarwinLMModel(LlamaModel):
    config: DarwinLMConfig
    config_class = DarwinLMConfig
    _no_split_modules = ["DarwinLMDecoderLayer"]

    def __init__(self, config):
        super(LlamaModel, self).__init__(config)
        self.padding_idx = config.pad_token_id
        self.vocab_size = config.vocab_size
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, self.padding_idx)
        self.layers = nn.ModuleList(
            DarwinLMDecoderLayer(config, layer_idx) for layer_idx in range(config.num_hidden_layers)
        )
        self.norm = LlamaRMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        # of one layer: YaRN reads the number of heads, which the model as a whole does not have
        self.rotary_emb = LlamaRotaryEmbedding(config=config.per_layer_config[0])
        self.has_sliding_layers = "sliding_attention" in (getattr(config, "layer_types", None) or [])
        self.gradient_checkpointing = False
        self.post_init()


class DarwinLMForCausalLM(LlamaForCausalLM):
    config: DarwinLMConfig
    config_class = DarwinLMConfig
    _no_split_modules = ["DarwinLMDecoderLayer"]

    def __init__(self, config):
        super(LlamaForCausalLM, self).__init__(config)
        self.model = DarwinLMModel(config)
        self.vocab_size = config.vocab_size
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()
