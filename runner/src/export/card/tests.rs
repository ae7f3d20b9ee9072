//! Whole cards, as golden files.

use darwinlm_search::{AttentionUnit, Digest, Ladder};
use darwinlm_task::{
    DeviceClass, LatencyReport, LatencyWorkload, Measured, Memory, ModelLatency, NumericsPlan,
    Plan, PlannedTokens, PostTrainingSpec, Spread, TargetSpec,
};

use super::*;

fn shape(attention_unit: AttentionUnit) -> Shape {
    Shape {
        blocks: 3,
        hidden: 64,
        vocabulary: 1000,
        intermediate: 128,
        query_heads: 8,
        key_value_heads: 2,
        head_dim: 8,
        tied_embeddings: true,
        query_key_value_bias: false,
        query_key_norm: false,
        attention_unit,
    }
}

fn ladders(units: Vec<u32>) -> Ladders {
    Ladders {
        attention: Ladder::new(units).unwrap(),
        mlp: Ladder::new(vec![128, 96, 32, 0]).unwrap(),
    }
}

fn genome() -> Genome {
    serde_json::from_str(r#"{"attention":"021","mlp":"310"}"#).unwrap()
}

fn provenance() -> Provenance {
    let tokens = |digit: &str, sequences| PlannedTokens {
        sha256: digit.repeat(64),
        sequences,
        sequence_length: 512,
    };
    Provenance {
        run: "team.small".to_owned(),
        ledger: Digest::of(b"ledger"),
        generations: 57,
        seed: 7,
        target: TargetSpec::Parameters(120_000),
        training: Some(PostTrainingSpec {
            tokens: 1_000_000,
            sequence_length: 512,
            batch_sequences: 8,
            learning_rate: "1e-4".to_owned(),
            warmup_percent: 3,
            final_learning_rate_percent: 10,
            weight_decay: "0.01".to_owned(),
            gradient_norm: "1".to_owned(),
            distillation_percent: 50,
            checkpoint_every_tokens: 100_000,
        }),
        database: "d".repeat(64),
        database_manifest: Digest::of(b"manifest"),
        plan: Plan {
            fetched: vec![darwinlm_task::Fetched {
                field: "spec.model.source".to_owned(),
                from: "hf://organisation/name@0f1e2d3c".to_owned(),
            }],
            version: 1,
            model: "a".repeat(64),
            tokens: "b".repeat(64),
            calibration: tokens("1", 64),
            training: tokens("2", 256),
            fitness: tokens("3", 64),
            validation: tokens("4", 16),
            dense_parameters: 1_234_567,
            numerics: NumericsPlan::cuda(2),
        },
        devices: [DeviceClass::Cpu, DeviceClass::Cuda].into(),
        runner: "0.0.0-test",
    }
}

fn evaluation() -> EvaluationReport {
    let measured = |parameters, perplexity: &str, kl: &str| Measured {
        parameters,
        perplexity: perplexity.to_owned(),
        kl: kl.to_owned(),
        tokens_per_second: "1234.5".to_owned(),
    };
    EvaluationReport {
        dense: measured(1_234_567, "12.3456", "0.000000"),
        uniform: measured(621_000, "40.0000", "1.200000"),
        pruned: measured(620_000, "20.0000", "0.500000"),
        trained: Some(measured(620_000, "15.0000", "0.300000")),
        latency: Some(latency()),
    }
}

fn latency() -> LatencyReport {
    let spread = |median: u64| Spread {
        median,
        least: median - 5,
        most: median + 5,
    };
    let model = |scale: u64, bytes| ModelLatency {
        prompt_microseconds: spread(1000 * scale),
        prompt_tokens_per_second: "1.0".to_owned(),
        token_microseconds: Some(spread(70 * scale)),
        new_tokens_per_second: Some("1.0".to_owned()),
        memory: Memory::WeightsAndCache { bytes },
    };
    LatencyReport {
        workload: LatencyWorkload {
            batch: 2,
            prompt_tokens: 512,
            new_tokens: 128,
        },
        pairs: 5,
        device: "Some CPU".to_owned(),
        dense: model(3, 2_000_000),
        pruned: model(2, 1_100_000),
        speedup_percent: spread(150),
    }
}

const SIZES: Parameters = Parameters {
    dense: 1_234_567,
    pruned: 620_000,
    stored: 621_024,
};

#[test]
fn the_card_of_a_smaller_model_tells_all_that_the_run_recorded() {
    let (provenance, evaluation) = (provenance(), evaluation());
    let card = Card {
        format: ExportFormat::Transformers,
        layout: QueryHeadLayout::Gather,
        family: Family::Llama,
        base_model: Some("example/dense-1m"),
        tokenizer: true,
        shape: &shape(AttentionUnit::QueryHead),
        ladders: &ladders(vec![8, 5, 0]),
        genome: &genome(),
        parameters: SIZES,
        evaluation: Some(&evaluation),
        provenance: &provenance,
    };
    insta::assert_snapshot!("transformers", card.text());
}

#[test]
fn the_card_of_a_masked_model_has_no_figures_that_nobody_measured() {
    let provenance = Provenance {
        target: TargetSpec::Level(2),
        training: None,
        devices: [].into(),
        ..provenance()
    };
    let card = Card {
        format: ExportFormat::MaskedDense,
        layout: QueryHeadLayout::Gather,
        family: Family::Qwen3,
        base_model: None,
        tokenizer: false,
        shape: &shape(AttentionUnit::KeyValueGroup),
        ladders: &ladders(vec![2, 1, 0]),
        genome: &genome(),
        parameters: SIZES,
        evaluation: None,
        provenance: &provenance,
    };
    insta::assert_snapshot!("masked_dense", card.text());
}

#[test]
fn a_path_on_its_makers_machine_is_no_name_of_a_base_model() {
    assert_eq!(
        hub_name("meta-llama/Llama-2-7b-hf"),
        Some("meta-llama/Llama-2-7b-hf")
    );
    for path in [
        "/srv/models/llama",
        "./llama",
        "../a/b",
        "a/b/c",
        "llama",
        "",
        "a/",
        "a/ b: c",
    ] {
        assert_eq!(hub_name(path), None, "{path}");
    }
}
