//! The dense shapes with zeros where units were removed: every engine loads it, nothing is saved.
//!
//! A removed query head's rows of q are zero, so it attends evenly; its columns of o are zero, so
//! nobody hears it. A removed column of the mlp is silu(0) · 0. What stays lies where it lay, with
//! the weights that its level was refitted to.

use std::path::Path;

use darwinlm_search::{Genome, Module, ModuleKind};
use serde_json::json;
use tch::Tensor;

use super::ExportError;
use super::folder::{copy_from_source, write_config, write_weights};
use crate::database::Database;
use crate::model::{Attention, Block, DenseModel, HeadBiases, HeadNorms, Mlp, Model, ModelConfig};
use crate::prune::unit_columns;
use crate::stitch::{AttentionRows, StitchError};

/// The candidate of `genome` in the shapes of the dense model it was cut out of.
///
/// # Errors
/// When the database cannot be read, is of another model, or libtorch refuses.
pub fn mask(
    candidate: &Model,
    dense: &DenseModel,
    database: &Database,
    genome: &Genome,
) -> Result<Model, StitchError> {
    let manifest = database.manifest();
    genome.fit(manifest.shape.blocks, manifest.ladders.deepest())?;
    let blocks = (0..).zip(dense.model.blocks.iter().zip(&candidate.blocks));
    let blocks = blocks.map(|(block, (whole, cut))| {
        let kept = |kind| {
            let module = Module { block, kind };
            database.kept(module, genome.level(module))
        };
        let attention = match (&whole.attention, &cut.attention) {
            (None, _) => None,
            (Some((norm, whole)), None) => Some((norm.view(), silent_attention(whole))),
            (Some((_, whole)), Some((norm, cut))) => {
                let rows = AttentionRows::of(&manifest.shape, &kept(ModuleKind::Attention)?);
                Some((norm.view(), mask_attention(whole, cut, &rows)?))
            }
        };
        let mlp = match (&whole.mlp, &cut.mlp) {
            (None, _) => None,
            (Some((norm, whole)), None) => Some((norm.view(), silent_mlp(whole))),
            (Some((_, whole)), Some((norm, cut))) => {
                let columns = unit_columns(&kept(ModuleKind::Mlp)?, 1);
                Some((norm.view(), mask_mlp(whole, cut, &columns)?))
            }
        };
        Ok(Block { attention, mlp })
    });
    Ok(Model {
        embeddings_VD: candidate.embeddings_VD.shallow_clone(),
        blocks: blocks.collect::<Result<_, StitchError>>()?,
        norm: candidate.norm.view(),
        lm_head_VD: candidate.lm_head_VD.as_ref().map(Tensor::shallow_clone),
        rope: candidate.rope,
        compute: candidate.compute,
    })
}

fn mask_attention(
    whole: &Attention,
    cut: &Attention,
    rows: &AttentionRows,
) -> Result<Attention, StitchError> {
    let of_queries = |whole: &Tensor, cut: &Tensor| spread(whole, cut, 0, &rows.queries);
    let of_keys = |whole: &Tensor, cut: &Tensor| match &rows.keys {
        Some(keys) => spread(whole, cut, 0, keys),
        None => Ok(cut.shallow_clone()),
    };
    let biases = match (&whole.biases, &cut.biases) {
        (Some(whole), Some(cut)) => Some(HeadBiases {
            q_Q: of_queries(&whole.q_Q, &cut.q_Q)?,
            k_K: of_keys(&whole.k_K, &cut.k_K)?,
            v_K: of_keys(&whole.v_K, &cut.v_K)?,
        }),
        _ => None,
    };
    Ok(Attention {
        q_QD: of_queries(&whole.q_QD, &cut.q_QD)?,
        k_KD: of_keys(&whole.k_KD, &cut.k_KD)?,
        v_KD: of_keys(&whole.v_KD, &cut.v_KD)?,
        o_DQ: spread(&whole.o_DQ, &cut.o_DQ, 1, &rows.queries)?,
        biases,
        norms: cut.norms.as_ref().map(HeadNorms::view),
        key_value_map: whole.key_value_map.clone(),
        head_dim: whole.head_dim,
        window: whole.window,
    })
}

fn mask_mlp(whole: &Mlp, cut: &Mlp, columns: &[i64]) -> Result<Mlp, StitchError> {
    Ok(Mlp {
        gate_CD: spread(&whole.gate_CD, &cut.gate_CD, 0, columns)?,
        up_CD: spread(&whole.up_CD, &cut.up_CD, 0, columns)?,
        down_DC: spread(&whole.down_DC, &cut.down_DC, 1, columns)?,
    })
}

/// Says nothing whatever it is given; its norms stay.
fn silent_attention(whole: &Attention) -> Attention {
    whole.map_weights(&mut silenced)
}

fn silent_mlp(whole: &Mlp) -> Mlp {
    whole.map_weights(&mut silenced)
}

fn silenced(name: &str, weight: &Tensor) -> Tensor {
    match name.contains("_norm.") {
        true => weight.shallow_clone(),
        false => weight.zeros_like(),
    }
}

/// Zeros in the shape of `whole`, with what was cut out of it back at its old place.
fn spread(whole: &Tensor, cut: &Tensor, along: i64, kept: &[i64]) -> Result<Tensor, StitchError> {
    if cut.size() == whole.size() {
        return Ok(cut.shallow_clone());
    }
    let mut zeros = Tensor::f_zeros(whole.size(), (cut.kind(), cut.device()))?;
    let index = Tensor::f_from_slice(kept)?.f_to_device(cut.device())?;
    let _ = zeros.f_index_copy_(along, &index, &cut.detach())?;
    Ok(zeros)
}

/// Writes a model in the dense shapes into `target`, an empty folder. `source` is the dense model's
/// folder, `config` its configuration. Weights are written in the type they have; their number is
/// returned.
///
/// # Errors
/// When a file cannot be written.
pub fn export_masked_dense(
    masked: &Model,
    config: &ModelConfig,
    source: &Path,
    target: &Path,
) -> Result<u64, ExportError> {
    let weights = masked.weights().into_iter();
    let stored = write_weights(target, weights.map(|(name, t)| (name, t.shallow_clone())))?;
    let mut fields = config.raw.clone();
    // code of the source's own: the shapes are those of stock classes
    fields.remove("auto_map");
    let class = format!("{}ForCausalLM", config.family.class());
    fields.insert("architectures".into(), json!([class]));
    write_config(target, fields, masked.embeddings_VD.kind())?;
    copy_from_source(source, target)?;
    Ok(stored)
}
