use darwinlm_search::{
    AttentionUnit, Exchange, FitnessKind, Genome, Ladder, Ladders, Level, Optimizer, SelectionStep,
    Shape,
};
use darwinlm_task::{
    DataSpec, DeviceClass, Dtype, ExportFormat, ExportSpec, NumericsPlan, PostTrainingSpec,
    QueryHeadLayout, RATES_VERSION, Rates, SearchSettings, SliceSpec, TaskKind,
};
use proptest::prelude::*;

use super::*;
use crate::memory::Sizes;

/// Llama-2-7B.
fn shape() -> Shape {
    Shape {
        blocks: 32,
        hidden: 4096,
        vocabulary: 32_000,
        intermediate: 11_008,
        query_heads: 32,
        key_value_heads: 32,
        head_dim: 128,
        tied_embeddings: false,
        query_key_value_bias: false,
        query_key_norm: false,
        attention_unit: AttentionUnit::QueryHead,
    }
}

struct World {
    data: DataSpec,
    settings: SearchSettings,
    training: PostTrainingSpec,
    export: ExportSpec,
}

/// The defaults of a run, which are the paper's.
fn world() -> World {
    let slice = |tokens| SliceSpec {
        source: None,
        tokens,
    };
    let step = |survivors, training_tokens, fitness_tokens| SelectionStep {
        survivors,
        training_tokens,
        fitness_tokens,
    };
    World {
        data: DataSpec {
            sequence_length: 4096,
            calibration: slice(8_388_608),
            training: slice(100_000_000),
            fitness: slice(262_144),
            validation: slice(262_145),
        },
        settings: SearchSettings {
            seed: 0,
            generations: 200,
            offspring: 16,
            exchange: Exchange::WithinKind,
            fitness: FitnessKind::KullbackLeibler,
            steps: vec![
                step(8, 10_000, 1024),
                step(4, 50_000, 2048),
                step(2, 100_000, 4096),
                step(1, 200_000, 8192),
            ],
            continue_training: false,
            optimizer: Optimizer {
                learning_rate: "1e-5".to_owned(),
                weight_decay: "0.01".to_owned(),
                batch_sequences: 1,
            },
        },
        training: PostTrainingSpec {
            tokens: 10_000_000_000,
            sequence_length: 4096,
            batch_sequences: 1024,
            learning_rate: "1e-4".to_owned(),
            warmup_percent: 3,
            final_learning_rate_percent: 10,
            weight_decay: "0.01".to_owned(),
            gradient_norm: "1.0".to_owned(),
            distillation_percent: 0,
            checkpoint_every_tokens: 500_000_000,
        },
        export: ExportSpec {
            destination: "file:///export".to_owned(),
            formats: vec![ExportFormat::Transformers, ExportFormat::MaskedDense],
            query_head_layout: QueryHeadLayout::Gather,
        },
    }
}

impl World {
    fn run(&self) -> Run<'_> {
        let ladder = |units, granularity| Ladder::spaced(units, 10, granularity).unwrap();
        Run {
            sizes: Sizes {
                windows: vec![None; 32],
                shape: shape(),
                numerics: NumericsPlan::cuda(2),
                sequence_length: 4096,
                batch_sequences: 4,
            },
            ladders: Ladders {
                attention: ladder(32, 1),
                mlp: ladder(11_008, 32),
            },
            start: Genome::uniform(32, Level::new(5).unwrap()),
            stored_bytes: 2,
            data: &self.data,
            timed_sizes: None,
            settings: &self.settings,
            generations_per_job: 25,
            training: Some(&self.training),
            evaluation: None,
            export: Some(&self.export),
        }
    }
}

/// A device that does 10¹⁴ operations a second of everything.
fn rates() -> Rates {
    Rates {
        version: RATES_VERSION,
        device: "a device".to_owned(),
        device_class: DeviceClass::Cuda,
        dtype: Dtype::BFloat16,
        threads: 2,
        memory: None,
        measured_on: "nothing".to_owned(),
        forward: 1e14,
        score: 1e14,
        train: 1e14,
        train_output: 1e14,
        optimizer: 1e10,
        hessian: 1e14,
        prune_attention: 1e13,
        prune_mlp: 1e13,
        copy: 1e12,
        read: 1e9,
        start_seconds: 10.0,
    }
}

#[test]
fn a_forward_pass_counts_two_for_every_weight_and_four_for_every_pair_of_positions() {
    let sizes = world().run().sizes.dense_blocks();
    // Of 6,738,415,616 parameters those of no embedding, output matrix or norm.
    let weights = 6_738_415_616.0 - 2.0 * 32_000.0 * 4096.0 - 65.0 * 4096.0;
    // 32 blocks with 4096 query columns; position i of 4096 sees itself and the i before it.
    let pairs = 4.0 * 32.0 * 4096.0 * (4097.0 / 2.0);
    let each = 2.0 * weights + pairs;
    assert!((forward(&shape(), &sizes, 10.0, 4096.0) / (10.0 * each) - 1.0).abs() < 1e-12);
    assert_eq!(output(&shape(), 3.0), 6.0 * 32_000.0 * 4096.0);
}

#[test]
fn the_papers_search_is_counted() {
    let search = world().run().search();
    assert_eq!(search.candidates, [16, 8, 4, 3]);
    assert_eq!(search.trials, 200 * 31);
    let trained = 16 * 10_000 + 8 * 50_000 + 4 * 100_000 + 3 * 200_000;
    assert_eq!(search.tokens_trained, 200 * trained);
    let scored = 16 * 1024 + 8 * 2048 + 4 * 4096 + 3 * 8192;
    // The validation slice is rounded up to whole sequences.
    assert_eq!(search.tokens_scored, 200 * scored + 201 * (262_144 + 4096));
}

#[test]
fn what_the_store_will_hold_is_weighed() {
    let world = world();
    let run = world.run();
    assert_eq!(run.dense_parameters(), 6_738_415_616);
    assert_eq!(run.model_bytes(), 13_476_831_232);
    let storage = run.storage();
    let of = |what: &str| {
        storage
            .iter()
            .find(|part| part.what == what)
            .map(|part| part.bytes)
    };
    // Every level but dense and removed: 32 rows of levels of 4096 × kept columns in two bytes.
    let attention: u32 = run.ladders.attention.as_slice()[1..].iter().sum();
    let mlp: u32 = run.ladders.mlp.as_slice()[1..].iter().sum();
    let columns = u64::from(attention) * 128 + u64::from(mlp);
    assert_eq!(of("level database"), Some(32 * 4096 * columns * 2));
    let left = run.parameters(&run.start);
    assert_eq!(of("checkpoints"), Some(left * (2 * 12 + 2)));
    assert_eq!(of("exports"), Some(2 * left + 13_476_831_232));
}

#[test]
fn a_search_on_one_worker_takes_its_trials_one_after_the_other() {
    let world = world();
    let run = world.run();
    let one = times(&run, &rates(), None, 1, 1);
    let search = one.tasks.iter().find(|task| task.task == TaskKind::Search);
    let search = search.unwrap();
    // At least the training: three passes over 312 million tokens.
    let kept = run.candidate();
    let trained = 312_000_000.0;
    let least =
        3.0 * (forward(&shape(), &kept, trained, 4096.0) + output(&shape(), trained)) / 1e14;
    assert!(
        search.seconds > least && search.seconds < 1.5 * least,
        "{} {least}",
        search.seconds
    );
    // Nobody waits; eight Jobs of 25 generations start.
    let reads = run.model_bytes() + run.database_bytes() + run.teacher_bytes();
    let starting = 8.0 * (10.0 + reads as f64 / 1e9);
    assert!((search.idle_seconds - starting).abs() < 1e-6 * search.seconds);
}

proptest! {
    #[test]
    fn more_workers_are_never_slower_and_compute_the_same(
        few in 1_u32..40, more in 0_u32..40, generations in 1_u32..300, offspring in 8_u32..200,
    ) {
        let mut world = world();
        world.settings.generations = generations;
        world.settings.offspring = offspring;
        let run = world.run();
        let (few, many) = (times(&run, &rates(), None, few, few), times(&run, &rates(), None, few + more, few + more));
        for (few, many) in few.tasks.iter().zip(&many.tasks) {
            prop_assert!(many.idle_seconds >= -1e-6 * many.device_seconds());
            prop_assert!(many.idle_seconds <= many.device_seconds());
            let busy = |task: &darwinlm_task::TaskTime| task.device_seconds() - task.idle_seconds;
            if few.task == TaskKind::Search {
                prop_assert!(many.seconds <= few.seconds * (1.0 + 1e-9));
                prop_assert!((busy(few) - busy(many)).abs() < 1e-6 * busy(few));
            }
        }
    }
}
