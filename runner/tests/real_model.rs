//! A small real model on real text; needs `make model` (.cache/models, .cache/text).
// clippy's own exception for tests stops at the functions they call
#![allow(non_snake_case, clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, MutexGuard, PoisonError};

use darwinlm_runner::database::{Database, FORMAT_VERSION, Manifest, file_name, write_module};
use darwinlm_runner::export::{export_masked_dense, mask};
use darwinlm_runner::fitness::{ScoreSettings, Scorer, Teacher, write_teacher};
use darwinlm_runner::model::{DenseModel, Model};
use darwinlm_runner::no_grad::no_grad;
use darwinlm_runner::prune::{
    BlockHessians, CalibrationSettings, Damped, ModuleLevels, build_module, calibrate, damp,
    unit_columns,
};
use darwinlm_runner::stitch::{columns_per_unit, stitch};
use darwinlm_runner::tokens::{Sequences, TextTokenizer, documents};
use darwinlm_runner::weights::MappedTensors;
use darwinlm_search::{
    AttentionUnit, Costs, FitnessKind, Genome, Ladder, Ladders, Level, Minibatch, Module,
    ModuleKind, PerKind,
};
use tch::{Device, Kind, Tensor};

fn cached(path: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .join(".cache")
        .join(path);
    assert!(
        path.exists(),
        "{} is missing: run `make model`",
        path.display()
    );
    path
}

/// Held by the one test that computes: two at once spin on each other's cores.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn dense() -> DenseModel {
    darwinlm_runner::device::set_threads(2);
    DenseModel::open(&cached("models/smollm2-135m"), Kind::Float, Device::Cpu).unwrap()
}

/// The first documents, without an end of text between them.
fn prose(addresses: usize) -> String {
    let all = documents(&cached("text/sotu.jsonl"), "text").unwrap();
    let first: Vec<String> = all.take(addresses).map(Result::unwrap).collect();
    first.join("\n")
}

fn tokenize(dense: &DenseModel, text: String) -> Vec<i32> {
    let folder = cached("models/smollm2-135m");
    let tokenizer = TextTokenizer::open(&folder, dense.config.vocabulary, None).unwrap();
    let mut stream = Vec::new();
    tokenizer.append(&text, &mut stream).unwrap();
    stream
}

#[test]
fn predictions_on_prose_are_those_of_transformers() {
    let (_alone, dense) = (alone(), dense());
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/smollm2-argmax.safetensors");
    let fixture = MappedTensors::open(&fixture).unwrap();
    let ids_ST = fixture.integers("input_ids").unwrap();
    // the text is tokenised as the tokenizer's own Python binding does
    let stream = tokenize(&dense, prose(9));
    let own =
        Sequences::pack(&stream[..8 * 512], 512).batch(&[0, 1, 2, 3, 4, 5, 6, 7], 512, Device::Cpu);
    assert!(own.equal(&ids_ST));
    let expected_ST = fixture.integers("argmax").unwrap();
    let mut agreed = 0;
    no_grad(|| {
        for row in 0..8 {
            let hidden_TD = dense.model.hidden_states(&ids_ST.narrow(0, row, 1)).get(0);
            let argmax_T = dense.model.logits(&hidden_TD).argmax(-1, false);
            let same = argmax_T.eq_tensor(&expected_ST.get(row));
            agreed += same.sum(Kind::Int64).int64_value(&[]);
        }
    });
    assert!(agreed as f64 >= 0.999 * 4096.0, "{agreed} of 4096");
}

/// Blocks whose mlp is halved in the test below.
const HALVED: std::ops::Range<u32> = 12..14;

/// The model with half the columns of some MLPs gone: `weights` says what `down_proj` becomes.
fn halved(dense: &DenseModel, weights: &dyn Fn(usize, &Tensor) -> Tensor) -> Model {
    dense.model.map_weights(|name, weight| {
        let mut parts = name.split('.').skip(2);
        let block = parts.next().and_then(|part| part.parse::<u32>().ok());
        match block.filter(|block| HALVED.contains(block) && name.contains("down_proj")) {
            Some(block) => weights((block - HALVED.start) as usize, weight),
            None => weight.shallow_clone(),
        }
    })
}

#[test]
fn second_order_pruning_beats_magnitude_and_magnitude_beats_chance() {
    let (_alone, dense) = (alone(), dense());
    let stream = tokenize(&dense, prose(12));
    let calibration = Sequences::pack(&stream[..8 * 512], 512);
    let pool = Sequences::pack(&stream[8 * 512..10 * 512], 512);
    let go_on = AtomicBool::new(false);
    let settings = CalibrationSettings { batch_sequences: 2 };
    let collected =
        calibrate(&dense.model, &calibration, HALVED, settings, &go_on, |_| {}).unwrap();
    let ladder = Ladder::new(vec![1536, 768, 0]).unwrap();
    let built: Vec<ModuleLevels> = collected
        .iter()
        .map(|block| {
            let (_, mlp) = dense.model.blocks[block.block as usize]
                .mlp
                .as_ref()
                .unwrap();
            build_module(
                &mlp.down_DC,
                &block.hessians[ModuleKind::Mlp],
                1,
                &ladder,
                10,
            )
            .unwrap()
        })
        .collect();
    let keep = |weight: &Tensor, columns: &Tensor| {
        weight
            .zeros_like()
            .index_copy(1, columns, &weight.index_select(1, columns))
    };
    let second_order = halved(&dense, &|index, weight| {
        let level = &built[index].levels[0];
        let columns = Tensor::from_slice(&unit_columns(&level.kept, 1));
        weight
            .zeros_like()
            .index_copy(1, &columns, &level.weight_RS)
    });
    let magnitude = halved(&dense, &|_, weight| {
        let norms = weight
            .square()
            .sum_dim_intlist([0i64].as_slice(), false, Kind::Float);
        keep(weight, &norms.argsort(0, true).narrow(0, 0, 768))
    });
    tch::manual_seed(1);
    let chance = halved(&dense, &|_, weight| {
        keep(
            weight,
            &Tensor::randperm(1536, (Kind::Int64, Device::Cpu)).narrow(0, 0, 768),
        )
    });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("teacher.safetensors");
    write_teacher(&dense.model, &pool, 1, &path, &go_on, |_| {}).unwrap();
    let teacher = Teacher::open(&path, &pool, &dense).unwrap();
    let minibatch = Minibatch {
        sequences: vec![0, 1],
        tokens: 1024,
    };
    let score = |model: &Model, kind| {
        let settings = ScoreSettings {
            kind,
            micro_batch_sequences: 1,
            logit_chunk_tokens: 256,
        };
        let scorer = Scorer {
            pool: &pool,
            teacher: Some(&teacher),
            settings,
        };
        scorer
            .score(model, &minibatch, &go_on, &mut |_| {})
            .unwrap()
    };
    let divergences = [&second_order, &magnitude, &chance]
        .map(|model| score(model, FitnessKind::KullbackLeibler));
    assert!(divergences.is_sorted(), "{divergences:?}");
    let perplexity = score(&dense.model, FitnessKind::Perplexity);
    // 29.1 was measured on this text in longer windows
    assert!((20.0..45.0).contains(&perplexity), "{perplexity}");
    assert!(score(&dense.model, FitnessKind::KullbackLeibler).abs() < 1e-6);
}

/// The model's first blocks alone: real weights, and minutes less to prune.
const FIRST: usize = 3;

fn first_blocks() -> DenseModel {
    let mut dense = dense();
    dense.model.blocks.truncate(FIRST);
    dense.config.blocks = FIRST;
    dense.config.windows.truncate(FIRST);
    dense
        .config
        .raw
        .insert("num_hidden_layers".into(), FIRST.into());
    dense
}

fn hessians(dense: &DenseModel) -> Vec<BlockHessians> {
    let stream = tokenize(dense, prose(12));
    let calibration = Sequences::pack(&stream[..8 * 256], 256);
    let settings = CalibrationSettings { batch_sequences: 2 };
    let (go_on, blocks) = (AtomicBool::new(false), 0..FIRST as u32);
    calibrate(&dense.model, &calibration, blocks, settings, &go_on, |_| {}).unwrap()
}

fn owner(dense: &DenseModel, module: Module) -> &Tensor {
    let block = &dense.model.blocks[module.block as usize];
    match module.kind {
        ModuleKind::Attention => &block.attention.as_ref().unwrap().1.o_DQ,
        ModuleKind::Mlp => &block.mlp.as_ref().unwrap().1.down_DC,
    }
}

fn ladders(unit: AttentionUnit) -> Ladders {
    let heads = match unit {
        AttentionUnit::QueryHead => vec![9, 6, 2, 0],
        AttentionUnit::KeyValueGroup => vec![3, 2, 1, 0],
    };
    PerKind {
        attention: Ladder::new(heads).unwrap(),
        mlp: Ladder::new(vec![1536, 1024, 320, 0]).unwrap(),
    }
}

/// What the greedy loop removes first: every step scores every unit on the current inverse.
fn greedy(weight_RN: &Tensor, hessian_NN: &Tensor, width: i64, steps: usize) -> Vec<u32> {
    let inverse = |spd: &Tensor| spd.linalg_cholesky(false).cholesky_inverse(false);
    let (mut w_RN, mut inverse_NN) = (weight_RN.copy(), inverse(hessian_NN));
    let units = hessian_NN.size()[0] / width;
    let mut order: Vec<u32> = Vec::new();
    while order.len() < steps {
        let blocks_UGG = Tensor::stack(
            &(0..units)
                .map(|unit| {
                    let rows = inverse_NN.narrow(0, unit * width, width);
                    rows.narrow(1, unit * width, width)
                })
                .collect::<Vec<_>>(),
            0,
        );
        for &gone in &order {
            blocks_UGG
                .get(i64::from(gone))
                .copy_(&Tensor::eye(width, (Kind::Double, Device::Cpu)));
        }
        let w_URG = w_RN.view([-1, units, width]).transpose(0, 1);
        let scores_U = (w_URG.matmul(&inverse(&blocks_UGG)) * &w_URG).sum_dim_intlist(
            [1i64, 2].as_slice(),
            false,
            Kind::Double,
        );
        for &gone in &order {
            let _ = scores_U.get(i64::from(gone)).fill_(f64::INFINITY);
        }
        let unit = scores_U.argmin(None, false).int64_value(&[]);
        let columns_NG = inverse_NN.narrow(1, unit * width, width).copy();
        let solved_GN = inverse(&blocks_UGG.get(unit)).matmul(&columns_NG.tr());
        let w_RG = w_RN.narrow(1, unit * width, width).copy();
        w_RN = &w_RN - w_RG.matmul(&solved_GN);
        inverse_NN = &inverse_NN - columns_NG.matmul(&solved_GN);
        order.push(unit as u32);
    }
    order
}

#[test]
fn levels_of_the_real_model_are_the_greedy_loops_choice_and_least_squares_refits() {
    let (_alone, dense) = (alone(), first_blocks());
    // the last block's inputs have gone through real blocks before it
    let block = &hessians(&dense)[FIRST - 1];
    for unit in [AttentionUnit::QueryHead, AttentionUnit::KeyValueGroup] {
        for kind in ModuleKind::ALL {
            let module = Module {
                block: block.block,
                kind,
            };
            let width = columns_per_unit(&dense.config.shape(unit), kind);
            let (weight, ladder) = (owner(&dense, module), &ladders(unit)[kind]);
            let built = build_module(weight, &block.hessians[kind], width, ladder, 10).unwrap();
            let Damped {
                hessian_NN,
                weight_RN,
                ..
            } = damp(weight, &block.hessians[kind], 10).unwrap();
            let steps = if kind == ModuleKind::Mlp { 12 } else { 3 };
            let expected = greedy(&weight_RN, &hessian_NN, i64::from(width), steps);
            assert_eq!(built.order[..steps], expected, "{unit:?} {kind}");
            for (level, error) in built.levels.iter().zip(&built.errors[1..]) {
                let columns = Tensor::from_slice(&unit_columns(&level.kept, width));
                let cross = weight_RN.matmul(&hessian_NN.index_select(1, &columns));
                let inner = hessian_NN
                    .index_select(0, &columns)
                    .index_select(1, &columns);
                let refit = level.weight_RS.to_kind(Kind::Double);
                let largest = |tensor: &Tensor| tensor.abs().max().double_value(&[]);
                // the normal equations; the weights are stored as float32
                let off = largest(&(refit.matmul(&inner) - &cross));
                assert!(off < 1e-5 * largest(&cross), "{unit:?} {kind}: {off}");
                let change = &weight_RN - weight_RN.zeros_like().index_copy(1, &columns, &refit);
                let lost = (change.matmul(&hessian_NN) * &change).sum(Kind::Double);
                let off = (lost.double_value(&[]) - error).abs() / error;
                // rounding moves the weights from an optimum: it counts squared
                assert!(off < 1e-7, "{unit:?} {kind}: {off}");
                let gone = built.order.len() - level.kept.len();
                assert!(
                    built.order[..gone]
                        .iter()
                        .all(|unit| !level.kept.contains(unit))
                );
            }
            assert!(built.errors.is_sorted(), "{:?}", built.errors);
        }
    }
}

#[test]
fn a_real_candidate_computes_the_same_shrunk_masked_and_exported() {
    let (_alone, dense) = (alone(), first_blocks());
    let hessians = hessians(&dense);
    let stream = tokenize(&dense, prose(1));
    let ids_BT = Sequences::pack(&stream[..256], 128).batch(&[0, 1], 128, Device::Cpu);
    let logits = |model: &Model| no_grad(|| model.logits(&model.hidden_states(&ids_BT)));
    for unit in [AttentionUnit::QueryHead, AttentionUnit::KeyValueGroup] {
        let (folder, shape) = (tempfile::tempdir().unwrap(), dense.config.shape(unit));
        let ladders = ladders(unit);
        let modules: Vec<_> = Module::all(FIRST as u32)
            .map(|module| {
                let hessian = &hessians[module.block as usize].hessians[module.kind];
                let width = columns_per_unit(&shape, module.kind);
                let ladder = &ladders[module.kind];
                let levels =
                    build_module(owner(&dense, module), hessian, width, ladder, 10).unwrap();
                write_module(folder.path(), module, &levels).unwrap()
            })
            .collect();
        let manifest = Manifest {
            format_version: FORMAT_VERSION,
            model: "SmolLM2".to_owned(),
            calibration: "prose".to_owned(),
            costs: Costs::parameters(&shape, &ladders).unwrap(),
            shape,
            ladders,
            latency_table: None,
            damping_permille: 10,
            modules,
        };
        let files = Module::all(FIRST as u32).map(|module| folder.path().join(file_name(module)));
        let database = Database::over(manifest, files.collect()).unwrap();
        // attention: removed, two levels; mlp: two levels, removed
        let level = |number| Level::new(number).unwrap();
        let genome = Genome::of(FIRST as u32, |module| match module.kind {
            ModuleKind::Attention => level([3, 1, 2][module.block as usize]),
            ModuleKind::Mlp => level([1, 2, 3][module.block as usize]),
        });
        let shrunk = stitch(&dense, &database, &genome).unwrap();
        let masked = mask(&shrunk, &dense, &database, &genome).unwrap();
        let out = tempfile::tempdir().unwrap();
        let source = cached("models/smollm2-135m");
        export_masked_dense(&masked, &dense.config, &source, out.path()).unwrap();
        let exported = DenseModel::open(out.path(), Kind::Float, Device::Cpu).unwrap();
        let expected = logits(&shrunk);
        assert!(!expected.equal(&logits(&dense.model)));
        for (what, model) in [("masked", &masked), ("exported", &exported.model)] {
            let off = (logits(model) - &expected).abs().max().double_value(&[])
                / expected.abs().max().double_value(&[]);
            // float32 sums over more terms, the added ones zero
            assert!(off < 1e-5, "{unit:?} {what}: {off}");
        }
    }
}
