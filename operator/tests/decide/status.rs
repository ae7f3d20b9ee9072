//! What the status remembers.

use super::*;

#[test]
fn what_the_status_remembers_outlives_the_jobs() {
    let decision = after(&run(), vec![prepared(), built()], vec![]);
    assert!(
        line(&decision).starts_with("create search-g0-a1 x3"),
        "{}",
        line(&decision)
    );
    let mid = job("search-g0-a1").running().says_generation(1);
    let decision = after(&run(), vec![prepared(), built(), mid], vec![]);
    assert!(
        line(&decision).starts_with("create search-g1-a1 x3"),
        "{}",
        line(&decision)
    );
}

#[test]
fn an_older_report_never_turns_the_generation_back() {
    let past = vec![
        prepared(),
        built(),
        job("search-g0-a1").running().says_generation(1),
    ];
    let now = vec![
        prepared(),
        built(),
        job("search-g0-a1").running().says_generation(0),
    ];
    let decision = after(&run(), past, now);
    assert_eq!(decision.status.progress.as_deref(), Some("1/6"));
}

#[test]
fn a_report_clears_nothing_that_it_does_not_speak_of() {
    let mut searched = searched();
    if let Some(report) = &mut searched.report {
        report.gpu_seconds = Some(GpuSeconds {
            useful: 7,
            starting: 1,
            waiting: 1,
            lost: 1,
        });
    }
    let known = decided(vec![prepared(), built(), searched]).status;
    assert!(known.search.is_some() && known.artifacts.is_some() && known.gpu_seconds.is_some());
    for silent in [
        job("evaluate-a1").running(),
        evaluated(),
        job("export-a1").running(),
        job("export-a1").complete().says_done(),
    ] {
        let mut silent = silent;
        silent.report = silent.report.or(Some(given::report(silent.key.task)));
        let observed = Observed {
            jobs: vec![silent],
            status: known.clone(),
            ..Observed::default()
        };
        let status = decide(&run(), &observed, at(2)).status;
        assert_eq!(status.search, known.search);
        assert_eq!(status.artifacts, known.artifacts);
        assert_eq!(status.gpu_seconds, known.gpu_seconds);
    }
}

#[test]
fn latency_is_told_as_medians_with_memory_and_speed_up() {
    use darwinlm_task::{
        EvaluationReport, LatencyReport, LatencyWorkload, Measured, Memory, ModelLatency, Spread,
    };
    let spread = |median| Spread {
        median,
        least: 1,
        most: 9_000_000,
    };
    let model = |prompt, token, bytes| ModelLatency {
        prompt_microseconds: spread(prompt),
        prompt_tokens_per_second: "1".into(),
        token_microseconds: Some(spread(token)),
        new_tokens_per_second: Some("1".into()),
        memory: Memory::AllocatorPeak { bytes },
    };
    let measured = Measured {
        parameters: 1,
        perplexity: "1".into(),
        kl: "0".into(),
        tokens_per_second: "1".into(),
    };
    let mut evaluated = evaluated();
    let report = evaluated.report.as_mut().unwrap();
    report.evaluation = Some(EvaluationReport {
        dense: measured.clone(),
        uniform: measured.clone(),
        pruned: measured,
        trained: None,
        latency: Some(LatencyReport {
            workload: LatencyWorkload {
                batch: 1,
                prompt_tokens: 2,
                new_tokens: 3,
            },
            pairs: 5,
            device: "d".into(),
            dense: model(300, 30, 2000),
            pruned: model(200, 20, 1000),
            speedup_percent: spread(150),
        }),
    });
    let status = decided(vec![prepared(), built(), searched(), evaluated]).status;
    let latency = status.evaluation.unwrap().latency.unwrap();
    assert_eq!(latency.speedup_percent, Some(150));
    let (dense, pruned) = (latency.dense.unwrap(), latency.pruned.unwrap());
    assert_eq!(
        (dense.prompt_microseconds, dense.token_microseconds),
        (300, 30)
    );
    assert_eq!(
        (pruned.prompt_microseconds, pruned.memory_bytes),
        (200, Some(1000))
    );
}

#[test]
fn survivors_that_a_report_has_no_room_for_are_not_forgotten() {
    let said = |survivors: usize| {
        let mut evaluating = job("evaluate-a1").running();
        let mut report = given::report(TaskKind::Evaluate);
        let mut search = given::search_report(6);
        search.survivors = (1..=6)
            .rev()
            .flat_map(|generation| given::search_report(generation).survivors)
            .take(survivors)
            .collect();
        report.search = Some(search);
        evaluating.report = Some(report);
        evaluating
    };
    for left in [3, 0] {
        let search = after(&run(), vec![said(6)], vec![said(left)]).status.search;
        let search = search.unwrap();
        assert_eq!(search.survivor, search.survivors.first().cloned());
        let born: Vec<_> = search
            .survivors
            .iter()
            .map(|s| s.born_in_generation)
            .collect();
        assert_eq!(born, [6, 5, 4, 3, 2, 1], "{left} were told");
    }
}

#[test]
fn the_status_tells_where_the_page_lies_as_the_spec_names_the_store() {
    let mut done = evaluated();
    let report = done.report.as_mut().expect("a done Job has a report");
    report.page = Some("runs/team.tiny/report.html".into());
    let status = decided(vec![prepared(), built(), searched(), done]).status;
    assert_eq!(
        status.artifacts.unwrap().report.as_deref(),
        Some("pvc://data/store/runs/team.tiny/report.html")
    );
}

#[test]
fn the_status_tells_loss_and_checkpoint_of_a_training() {
    let mut training = job("post-train-a1").running();
    let mut said = given::report(TaskKind::PostTrain);
    said.training = Some(TrainingReport {
        tokens: 2048,
        total_tokens: 4096,
        loss: Some("2.5".into()),
        checkpoint: Some("runs/team.tiny/checkpoints/ab/00000004".into()),
    });
    training.report = Some(said);
    let status = decided(vec![prepared(), built(), searched(), training]).status;
    assert_eq!(
        status.artifacts.unwrap().checkpoint.as_deref(),
        Some("pvc://data/store/runs/team.tiny/checkpoints/ab/00000004")
    );
    let training = status.post_training.unwrap();
    assert_eq!(
        (training.tokens, training.loss.as_deref()),
        (2048, Some("2.5"))
    );
}

#[test]
fn the_status_names_database_and_digest() {
    let decision = decided(vec![prepared(), built(), searched()]);
    let status = decision.status;
    assert_eq!(
        status.artifacts.unwrap().level_database.as_deref(),
        Some("pvc://data/store/databases/abc")
    );
    let search = status.search.unwrap();
    assert_eq!(search.generation, 6);
    assert_eq!(search.digest, Some(format!("sha256:{:064x}", 6)));
    assert_eq!(search.survivor.unwrap().genome.attention, "2222");
}

#[test]
fn finished_search_jobs_beyond_three_go_once_the_status_remembers_them() {
    let many = || {
        let mut jobs = vec![prepared(), built()];
        for generation in 0..5 {
            let name = format!("search-g{generation}-a1");
            jobs.push(
                given::job(&name)
                    .complete()
                    .says_generation(generation + 1)
                    .says_done(),
            );
        }
        jobs
    };
    let first = decided(many());
    assert_eq!(
        first.actions.len(),
        1,
        "only the next Job is made: {}",
        line(&first)
    );
    let second = decide(
        &run(),
        &Observed {
            jobs: many(),
            status: first.status,
            ..Observed::default()
        },
        at(2),
    );
    let actions: Vec<_> = second.actions.iter().map(given::phrase).collect();
    assert_eq!(
        actions,
        [
            "create search-g5-a1 x3",
            "delete search-g1-a1",
            "delete search-g0-a1"
        ]
    );
}
