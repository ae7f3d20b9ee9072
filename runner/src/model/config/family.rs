//! The families of models: what their blocks have, and what a field means that is not written.

/// A `model_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Llama 1, 2 and 3, and what is built like them.
    Llama,
    /// Mistral: a Llama that looks back over a window.
    Mistral,
    /// Qwen2 and Qwen2.5: q, k and v have biases.
    Qwen2,
    /// Qwen3: every query and every key is normalised.
    Qwen3,
}

/// Which blocks look back over a window only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WindowRule {
    /// None does.
    Never,
    /// All do, where `sliding_window` is a number.
    EveryBlock,
    /// Those that `layer_types` or `max_window_layers` says, where `use_sliding_window` is true.
    ByBlock,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Llama, Self::Mistral, Self::Qwen2, Self::Qwen3];

    /// As `config.json` writes it.
    pub fn model_type(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Mistral => "mistral",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
        }
    }

    /// What the names of its classes in transformers begin with.
    pub fn class(self) -> &'static str {
        match self {
            Self::Llama => "Llama",
            Self::Mistral => "Mistral",
            Self::Qwen2 => "Qwen2",
            Self::Qwen3 => "Qwen3",
        }
    }

    /// Whether q, k and v have biases.
    pub fn query_key_value_bias(self) -> bool {
        self == Self::Qwen2
    }

    /// Whether queries and keys are normalised per head.
    pub fn query_key_norm(self) -> bool {
        self == Self::Qwen3
    }

    pub(super) fn windows(self) -> WindowRule {
        match self {
            Self::Llama => WindowRule::Never,
            Self::Mistral => WindowRule::EveryBlock,
            Self::Qwen2 | Self::Qwen3 => WindowRule::ByBlock,
        }
    }

    /// Key-value heads where the field is absent; `None`: as many as query heads.
    pub(super) fn absent_key_value_heads(self) -> Option<i64> {
        match self {
            Self::Llama => None,
            Self::Mistral => Some(8),
            Self::Qwen2 | Self::Qwen3 => Some(32),
        }
    }

    /// The head size where the field is absent; `None`: the hidden size is shared out.
    pub(super) fn absent_head_dim(self) -> Option<i64> {
        match self {
            Self::Llama | Self::Mistral | Self::Qwen2 => None,
            Self::Qwen3 => Some(128),
        }
    }
}
