//! Fields that are changed when it is too late.

use super::*;

/// Decides for a run whose spec has changed since its Jobs were made.
fn edited(from: &str, to: &str, jobs: Vec<ObservedJob>) -> Decision {
    let observed = Observed {
        jobs,
        ..Observed::default()
    };
    decide(&edited_run(from, to), &observed, at(1))
}

#[test]
fn every_row_of_late_changes_is_decided_as_it_says() {
    let worker = ("device: Cpu", "device: Cuda");
    let evaluation = ("  evaluation: {}\n", "");
    let export = ("data/out", "data/elsewhere");
    let exporting = || {
        vec![
            prepared(),
            built(),
            searched(),
            trained(),
            evaluated(),
            job("export-a1").running(),
        ]
    };
    let table = [
        (
            "before any Job everything may change",
            worker,
            vec![],
            "True Valid",
            "create prepare-a1 x1 | Pending | Progressing True Starting | Succeeded Unknown InProgress",
        ),
        (
            "a Job at work goes on with the old value",
            worker,
            vec![job("prepare-a1").running()],
            "False ChangedTooLate",
            "nothing | Preparing | Progressing True Preparing | Succeeded Unknown InProgress",
        ),
        (
            "no Job is made from another worker than the first",
            worker,
            vec![prepared()],
            "False ChangedTooLate",
            "nothing | BuildingDatabase | Progressing False ChangedTooLate | Succeeded Unknown InProgress",
        ),
        (
            "what is exported may change until its own Job is made",
            export,
            vec![prepared(), built(), searched(), trained(), evaluated()],
            "True Valid",
            "create export-a1 x1 | Exporting | Progressing True Starting | Succeeded Unknown InProgress",
        ),
        (
            "an export at work goes on with the old value",
            export,
            exporting(),
            "False ChangedTooLate",
            "nothing | Exporting | Progressing True Exporting | Succeeded Unknown InProgress",
        ),
        (
            "a second attempt is not made from another value than the first",
            export,
            vec![
                prepared(),
                built(),
                searched(),
                trained(),
                evaluated(),
                job("export-a1").failed(),
            ],
            "False ChangedTooLate",
            "nothing | Exporting | Progressing False ChangedTooLate | Succeeded Unknown InProgress",
        ),
        (
            "a task that is left out before its first Job is left out",
            evaluation,
            vec![prepared(), built(), searched(), trained()],
            "True Valid",
            "create export-a1 x1 | Exporting | Progressing True Starting | Succeeded Unknown InProgress",
        ),
        (
            "a task that is left out too late holds no other back",
            evaluation,
            vec![prepared(), built(), searched(), trained(), evaluated()],
            "False ChangedTooLate",
            "create export-a1 x1 | Exporting | Progressing True Starting | Succeeded Unknown InProgress",
        ),
        (
            "no later task looks for weights that were never trained",
            ("tokens: 4096", "tokens: 8192"),
            vec![prepared(), built(), searched(), trained()],
            "False ChangedTooLate",
            "nothing | Evaluating | Progressing False ChangedTooLate | Succeeded Unknown InProgress",
        ),
        (
            "how many work, how long and whether at all may always change",
            ("generationsPerJob: 2", "generationsPerJob: 3"),
            vec![job("prepare-a1").running()],
            "True Valid",
            "nothing | Preparing | Progressing True Preparing | Succeeded Unknown InProgress",
        ),
    ];
    for (what, (from, to), jobs, expected, expected_line) in table {
        let decision = edited(from, to, jobs);
        assert_eq!(line(&decision), expected_line, "{what}");
        assert_eq!(accepted(&decision).0, expected, "{what}");
        assert_eq!(decision.ended, None, "{what}");
        assert!(decision.requeue_after.is_some(), "{what}");
    }
}

#[test]
fn a_late_change_is_named_with_the_job_it_is_too_late_for_and_ends_when_it_is_put_back() {
    let jobs = || vec![prepared(), job("build-database-a1").running()];
    let late = edited("device: Cpu", "device: Cuda", jobs());
    assert_eq!(
        accepted(&late).1,
        "spec.worker was changed after Job tiny-prepare-a1 had been made from it; what is at work \
         goes on with the old value and nothing is started with the new one: put it back, or create \
         another run"
    );
    let observed = Observed {
        jobs: jobs(),
        status: late.status,
        ..Observed::default()
    };
    let put_back = decide(&run(), &observed, at(2));
    assert_eq!(
        accepted(&put_back),
        ("True Valid".to_owned(), String::new())
    );
}

#[test]
fn a_job_that_does_not_say_what_it_was_made_from_binds_nobody() {
    let mut silent = job("prepare-a1").running();
    silent.made_from = Default::default();
    let decision = edited("device: Cpu", "device: Cuda", vec![silent]);
    assert_eq!(accepted(&decision).0, "True Valid");
}
