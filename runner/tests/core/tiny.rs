//! The tiny models of `runner/fixtures`, and a level database of each, built as the runner does.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use darwinlm_runner::database::{Database, FORMAT_VERSION, Manifest, file_name, write_module};
use darwinlm_runner::model::DenseModel;
use darwinlm_runner::prune::{CalibrationSettings, build_module, calibrate};
use darwinlm_runner::stitch::columns_per_unit;
use darwinlm_runner::tokens::Sequences;
use darwinlm_runner::weights::MappedTensors;
use darwinlm_search::{AttentionUnit, Costs, Ladder, Ladders, Module, ModuleKind, PerKind};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use tch::{Device, Kind, Tensor};

/// Every family and every scaling of rotary positions; what each is for stands in make_tiny.py.
pub(crate) const MODELS: [&str; 8] = [
    "tiny-gqa",
    "tiny-mha",
    "tiny-mistral",
    "tiny-qwen2",
    "tiny-qwen3",
    "tiny-llama3",
    "tiny-yarn",
    "tiny-linear",
];
pub(crate) const UNITS: [AttentionUnit; 2] =
    [AttentionUnit::QueryHead, AttentionUnit::KeyValueGroup];

pub(crate) fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(name)
}

pub(crate) fn dense(name: &str) -> DenseModel {
    darwinlm_runner::device::set_threads(1);
    DenseModel::open(&folder(name), Kind::Float, Device::Cpu).unwrap()
}

pub(crate) fn reference(name: &str) -> MappedTensors {
    MappedTensors::open(&folder(name).join("reference.safetensors")).unwrap()
}

/// Random tokens of the tiny vocabulary. Of a generator of their own: libtorch's is one for the whole
/// process, and tests beside this one draw from it too.
pub(crate) fn sequences(count: usize, length: u32, seed: u64) -> Sequences {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let stream: Vec<i32> = (0..count * length as usize)
        .map(|_| (random.next_u32() % 96) as i32)
        .collect();
    Sequences::pack(&stream, length)
}

pub(crate) fn ladders(dense: &DenseModel, unit: AttentionUnit) -> Ladders {
    let shape = dense.config.shape(unit);
    let heads = match unit {
        AttentionUnit::QueryHead => shape.query_heads,
        AttentionUnit::KeyValueGroup => shape.key_value_heads,
    };
    PerKind {
        attention: Ladder::spaced(heads, 5, 1).unwrap(),
        mlp: Ladder::spaced(shape.intermediate, 5, 1).unwrap(),
    }
}

/// Builds and opens the level database of a tiny model in `folder`.
pub(crate) fn database(dense: &DenseModel, unit: AttentionUnit, folder: &Path) -> Database {
    let shape = dense.config.shape(unit);
    let ladders = ladders(dense, unit);
    let calibration = sequences(24, 16, 7);
    let settings = CalibrationSettings { batch_sequences: 4 };
    let go_on = AtomicBool::new(false);
    let blocks = 0..shape.blocks;
    let collected =
        calibrate(&dense.model, &calibration, blocks, settings, &go_on, |_| {}).unwrap();
    let mut modules = Vec::new();
    for block in collected {
        for kind in ModuleKind::ALL {
            let module = Module {
                block: block.block,
                kind,
            };
            let owner = owner(dense, module);
            let width = columns_per_unit(&shape, kind);
            let levels =
                build_module(owner, &block.hessians[kind], width, &ladders[kind], 10).unwrap();
            modules.push(write_module(folder, module, &levels).unwrap());
        }
    }
    let costs = Costs::parameters(&shape, &ladders).unwrap();
    let manifest = Manifest {
        format_version: FORMAT_VERSION,
        model: "tiny".to_owned(),
        calibration: "random".to_owned(),
        shape,
        ladders,
        costs,
        latency_table: None,
        damping_permille: 10,
        modules,
    };
    let files = Module::all(manifest.shape.blocks).map(|module| folder.join(file_name(module)));
    let files = files.collect();
    Database::over(manifest, files).unwrap()
}

/// The dense matrix that is pruned.
pub(crate) fn owner(dense: &DenseModel, module: Module) -> &Tensor {
    let block = &dense.model.blocks[module.block as usize];
    match module.kind {
        ModuleKind::Attention => &block.attention.as_ref().unwrap().1.o_DQ,
        ModuleKind::Mlp => &block.mlp.as_ref().unwrap().1.down_DC,
    }
}

/// The largest |a - b| relative to the largest |b|.
pub(crate) fn relative(a: &Tensor, b: &Tensor) -> f64 {
    let difference = (a - b).abs().max().double_value(&[]);
    difference / b.abs().max().double_value(&[])
}
