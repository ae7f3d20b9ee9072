//! A tiny Llama with random weights, and tokens for it: a whole run takes seconds.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use serde_json::json;

const BLOCKS: usize = 4;
const HIDDEN: usize = 32;
const HEADS: usize = 4;
const KEY_VALUE_HEADS: usize = 2;
const HEAD_DIM: usize = 8;
const INTERMEDIATE: usize = 96;
const VOCABULARY: usize = 160;
/// Tokens per sequence.
pub const SEQUENCE_LENGTH: usize = 32;
const SEQUENCES: usize = 192;

/// Writes `model/` (config.json, model.safetensors) and `tokens.safetensors` into `folder`.
///
/// # Panics
/// When the folder cannot be written.
pub fn write(folder: &Path) {
    let model = folder.join("model");
    fs::create_dir_all(&model).expect("the folder can be made");
    fs::write(model.join("config.json"), config()).expect("config.json can be written");
    let mut random = ChaCha8Rng::seed_from_u64(7);
    write_safetensors(&model.join("model.safetensors"), weights(&mut random));
    let ids = tokens(&mut random);
    write_safetensors(
        &folder.join("tokens.safetensors"),
        BTreeMap::from([(
            "input_ids".to_owned(),
            (Dtype::I32, vec![SEQUENCES, SEQUENCE_LENGTH], ids),
        )]),
    );
}

type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

fn write_safetensors(path: &Path, tensors: Tensors) {
    let views = tensors.iter().map(|(name, (dtype, shape, bytes))| {
        let view = TensorView::new(*dtype, shape.clone(), bytes).expect("the shape fits the bytes");
        (name.clone(), view)
    });
    serialize_to_file(views, None, path).expect("the file can be written");
}

fn config() -> String {
    json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama",
        "hidden_size": HIDDEN, "intermediate_size": INTERMEDIATE, "num_hidden_layers": BLOCKS,
        "num_attention_heads": HEADS, "num_key_value_heads": KEY_VALUE_HEADS, "head_dim": HEAD_DIM,
        "vocab_size": VOCABULARY, "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "hidden_act": "silu", "attention_bias": false, "mlp_bias": false,
        "tie_word_embeddings": true, "bos_token_id": 1, "eos_token_id": 2, "torch_dtype": "float32",
    })
    .to_string()
}

fn weights(random: &mut ChaCha8Rng) -> Tensors {
    let mut tensors = Tensors::new();
    let mut add = |name: String, shape: [usize; 2], scale: f32| {
        let bytes = (0..shape[0] * shape[1])
            .flat_map(|_| (scale * bell(random)).to_le_bytes())
            .collect::<Vec<u8>>();
        tensors.insert(name, (Dtype::F32, shape.to_vec(), bytes));
    };
    add(
        "model.embed_tokens.weight".to_owned(),
        [VOCABULARY, HIDDEN],
        0.4,
    );
    for block in 0..BLOCKS {
        let name = |part: &str| format!("model.layers.{block}.{part}_proj.weight");
        let scale = 0.25;
        add(name("self_attn.q"), [HEADS * HEAD_DIM, HIDDEN], scale);
        add(
            name("self_attn.k"),
            [KEY_VALUE_HEADS * HEAD_DIM, HIDDEN],
            scale,
        );
        add(
            name("self_attn.v"),
            [KEY_VALUE_HEADS * HEAD_DIM, HIDDEN],
            scale,
        );
        add(name("self_attn.o"), [HIDDEN, HEADS * HEAD_DIM], scale);
        add(name("mlp.gate"), [INTERMEDIATE, HIDDEN], scale);
        add(name("mlp.up"), [INTERMEDIATE, HIDDEN], scale);
        add(name("mlp.down"), [HIDDEN, INTERMEDIATE], scale);
    }
    let ones = || 1f32.to_le_bytes().repeat(HIDDEN);
    let norms = (0..BLOCKS)
        .flat_map(|block| {
            ["input_layernorm", "post_attention_layernorm"]
                .map(|norm| format!("model.layers.{block}.{norm}.weight"))
        })
        .chain(["model.norm.weight".to_owned()]);
    for norm in norms {
        tensors.insert(norm, (Dtype::F32, vec![HIDDEN], ones()));
    }
    tensors
}

/// About normal, mean 0, variance 1: the sum of twelve uniform numbers, less six.
fn bell(random: &mut ChaCha8Rng) -> f32 {
    (0..12).map(|_| uniform(random)).sum::<f32>() - 6.0
}

fn uniform(random: &mut ChaCha8Rng) -> f32 {
    (random.next_u32() >> 8) as f32 / (1u32 << 24) as f32
}

/// A walk over the vocabulary with short steps, so that there is something to predict.
fn tokens(random: &mut ChaCha8Rng) -> Vec<u8> {
    let mut token = 3;
    (0..SEQUENCES * SEQUENCE_LENGTH)
        .flat_map(|_| {
            token = 3 + (token + (random.next_u32() % 5) as usize) % (VOCABULARY - 3);
            i32::try_from(token)
                .expect("the vocabulary is small")
                .to_le_bytes()
        })
        .collect()
}
