//! Assembles a candidate: a physically smaller model from a genome, the database and the dense model.

mod rows;

pub(crate) use rows::AttentionRows;

use darwinlm_search::{AttentionUnit, Genome, GenomeError, Level, Module, ModuleKind, Shape};
use tch::{Device, Tensor};

use crate::database::{Database, DatabaseError, StoredLevel};
use crate::model::{Attention, Block, DenseModel, HeadBiases, HeadNorms, KeyValueMap, Mlp, Model};
use crate::prune::unit_columns;

/// Why a candidate could not be assembled.
#[derive(Debug, thiserror::Error)]
pub enum StitchError {
    /// The genome is one of another model.
    #[error(transparent)]
    Genome(#[from] GenomeError),
    /// The database was built from another model.
    #[error(
        "the level database is of a model with sizes {database:?}; the dense model has {dense:?}"
    )]
    Shape {
        /// Sizes in the manifest.
        database: Box<Shape>,
        /// Sizes of the dense model.
        dense: Box<Shape>,
    },
    /// A level could not be read.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// libtorch refused, for want of memory for instance.
    #[error("libtorch failed while assembling a candidate")]
    Torch(#[from] tch::TchError),
}

/// Neighbouring columns of the owner matrix that make one unit.
pub fn columns_per_unit(shape: &Shape, kind: ModuleKind) -> u32 {
    match (kind, shape.attention_unit) {
        (ModuleKind::Mlp, _) => 1,
        (ModuleKind::Attention, AttentionUnit::QueryHead) => shape.head_dim,
        (ModuleKind::Attention, AttentionUnit::KeyValueGroup) => {
            shape.head_dim * (shape.query_heads / shape.key_value_heads)
        }
    }
}

/// The candidate of a genome: level 0 shares the dense weights, the last level is no module at all.
pub fn stitch(
    dense: &DenseModel,
    database: &Database,
    genome: &Genome,
) -> Result<Model, StitchError> {
    let manifest = database.manifest();
    let own = dense.config.shape(manifest.shape.attention_unit);
    if own != manifest.shape {
        let database = Box::new(manifest.shape.clone());
        return Err(StitchError::Shape {
            database,
            dense: Box::new(own),
        });
    }
    genome.fit(own.blocks, manifest.ladders.deepest())?;
    let blocks = (0..own.blocks).zip(&dense.model.blocks);
    let blocks = blocks.map(|(block, dense_block)| {
        let module = |kind| Module { block, kind };
        let cut = |kind| Cut::read(database, module(kind), genome.level(module(kind)));
        let attention = match (cut(ModuleKind::Attention)?, &dense_block.attention) {
            (Cut::Removed, _) | (_, None) => None,
            (Cut::Dense, Some((norm, whole))) => Some((norm.view(), whole.view())),
            (Cut::Pruned(level), Some((norm, whole))) => {
                Some((norm.view(), cut_attention(whole, &level, &own)?))
            }
        };
        let mlp = match (cut(ModuleKind::Mlp)?, &dense_block.mlp) {
            (Cut::Removed, _) | (_, None) => None,
            (Cut::Dense, Some((norm, whole))) => Some((norm.view(), whole.view())),
            (Cut::Pruned(level), Some((norm, whole))) => {
                Some((norm.view(), cut_mlp(whole, &level)?))
            }
        };
        Ok(Block { attention, mlp })
    });
    Ok(Model {
        embeddings_VD: dense.model.embeddings_VD.shallow_clone(),
        blocks: blocks.collect::<Result<_, StitchError>>()?,
        norm: dense.model.norm.view(),
        lm_head_VD: dense.model.lm_head_VD.as_ref().map(Tensor::shallow_clone),
        rope: dense.model.rope,
        compute: dense.model.compute,
    })
}

/// A block with one module alone, cut to its first units: of the shapes that a candidate's has which
/// keeps as many, whatever it computes.
pub fn cut_block(
    whole: &Block,
    shape: &Shape,
    kind: ModuleKind,
    units: u32,
) -> Result<Block, StitchError> {
    let is_whole = units == shape.units(kind);
    let level = |owner: &Tensor| {
        let columns = i64::from(units) * i64::from(columns_per_unit(shape, kind));
        Ok::<_, StitchError>(StoredLevel {
            kept: (0..units).collect(),
            weight_RS: owner.f_narrow(1, 0, columns)?.f_contiguous()?,
        })
    };
    let (mut attention, mut mlp) = (None, None);
    match kind {
        ModuleKind::Attention => {
            if let Some((norm, whole)) = &whole.attention {
                let cut = match is_whole {
                    true => whole.view(),
                    false => cut_attention(whole, &level(&whole.o_DQ)?, shape)?,
                };
                attention = Some((norm.view(), cut));
            }
        }
        ModuleKind::Mlp => {
            if let Some((norm, whole)) = &whole.mlp {
                let cut = match is_whole {
                    true => whole.view(),
                    false => cut_mlp(whole, &level(&whole.down_DC)?)?,
                };
                mlp = Some((norm.view(), cut));
            }
        }
    }
    Ok(Block { attention, mlp })
}

enum Cut {
    Dense,
    Pruned(StoredLevel),
    Removed,
}

impl Cut {
    fn read(database: &Database, module: Module, level: Level) -> Result<Self, StitchError> {
        let deepest = database.manifest().ladder(module).deepest();
        Ok(match level {
            Level::DENSE => Self::Dense,
            level if level == deepest => Self::Removed,
            level => Self::Pruned(database.level(module, level)?),
        })
    }
}

fn cut_attention(
    whole: &Attention,
    level: &StoredLevel,
    shape: &Shape,
) -> Result<Attention, StitchError> {
    let kept = AttentionRows::of(shape, &level.kept);
    let key_value_map = match &kept.keys {
        Some(_) => KeyValueMap::Grouped,
        None => {
            let groups = shape.query_heads / shape.key_value_heads;
            let read = level.kept.iter().map(|&head| i64::from(head / groups));
            let heads = i64::from(shape.key_value_heads);
            KeyValueMap::of(read.collect(), heads, whole.q_QD.device())
        }
    };
    let device = whole.q_QD.device();
    let queries = index(&kept.queries, device)?;
    let keys = kept.keys.as_ref().map(|kept| index(kept, device));
    let keys = keys.transpose()?;
    let of_queries = |weight: &Tensor| rows(weight, &queries);
    let of_keys = |weight: &Tensor| match &keys {
        Some(kept) => rows(weight, kept),
        None => Ok(weight.shallow_clone()),
    };
    let cut_biases = |whole: &HeadBiases| {
        Ok::<_, StitchError>(HeadBiases {
            q_Q: of_queries(&whole.q_Q)?,
            k_K: of_keys(&whole.k_K)?,
            v_K: of_keys(&whole.v_K)?,
        })
    };
    Ok(Attention {
        q_QD: of_queries(&whole.q_QD)?,
        k_KD: of_keys(&whole.k_KD)?,
        v_KD: of_keys(&whole.v_KD)?,
        o_DQ: like(&level.weight_RS, &whole.o_DQ)?,
        biases: whole.biases.as_ref().map(cut_biases).transpose()?,
        // one scale serves all heads
        norms: whole.norms.as_ref().map(HeadNorms::view),
        key_value_map,
        head_dim: whole.head_dim,
        window: whole.window,
    })
}

fn cut_mlp(whole: &Mlp, level: &StoredLevel) -> Result<Mlp, StitchError> {
    let kept = index(&unit_columns(&level.kept, 1), whole.gate_CD.device())?;
    Ok(Mlp {
        gate_CD: rows(&whole.gate_CD, &kept)?,
        up_CD: rows(&whole.up_CD, &kept)?,
        down_DC: like(&level.weight_RS, &whole.down_DC)?,
    })
}

fn index(kept: &[i64], device: Device) -> Result<Tensor, StitchError> {
    Ok(Tensor::f_from_slice(kept)?.f_to_device(device)?)
}

/// The kept rows of a matrix, or the kept elements of a bias.
fn rows(weight: &Tensor, kept: &Tensor) -> Result<Tensor, StitchError> {
    Ok(weight.f_index_select(0, kept)?)
}

fn like(stored: &Tensor, dense: &Tensor) -> Result<Tensor, StitchError> {
    Ok(stored
        .f_to_device(dense.device())?
        .f_to_kind(dense.kind())?)
}
