//! The lines of Python that load the folder.

use darwinlm_task::{ExportFormat, QueryHeadLayout};

use super::Card;

pub(super) fn text(card: &Card<'_>) -> String {
    let (trust, needs) = match card.format {
        ExportFormat::Transformers => (", trust_remote_code=True", transformers(card)),
        ExportFormat::MaskedDense => ("", masked_dense(card)),
    };
    let (also, tokenizer) = match card.tokenizer {
        true => (
            ", AutoTokenizer",
            "tokenizer = AutoTokenizer.from_pretrained(path)\n",
        ),
        false => ("", ""),
    };
    format!(
        "## Loading\n\n```python\nfrom transformers import AutoModelForCausalLM{also}\n\n\
         path = \".\"  # this folder\n{tokenizer}\
         model = AutoModelForCausalLM.from_pretrained(path{trust})\n```\n\n{needs}\n"
    )
}

fn transformers(card: &Card<'_>) -> String {
    let layout = match card.layout {
        QueryHeadLayout::Gather => {
            "`key_value_index` in a block's entry is the key-value head that each query head reads"
        }
        QueryHeadLayout::Expand => {
            "where groups lost unequal numbers of heads, keys and values are copied for each query head"
        }
    };
    format!(
        "Needs transformers 5.16 or later; `trust_remote_code` runs `modeling_darwinlm.py` of this folder.\n\
         The sizes of each block stand in `per_layer_config` of `config.json`;\n{layout}.\n"
    )
}

fn masked_dense(card: &Card<'_>) -> String {
    let class = card.family.class();
    format!(
        "No code of this folder runs: the class is the stock `{class}ForCausalLM`, and the weights have the \
         names\nand shapes of a dense {class} checkpoint.\n"
    )
}
