//! Runs whose Jobs wait in a queue of Kueue's.

use super::*;

/// [`RUN`](given::RUN) with its Jobs in a queue.
fn in_a_queue() -> ValidatedRun {
    let queue = "  queueName: gpus\n  postTraining:";
    edited_run("  postTraining:", queue)
}

#[test]
fn every_row_of_queues_is_decided_as_it_says() {
    let (queue, alone) = (in_a_queue(), run());
    let suspended = ValidatedRun {
        suspend: true,
        ..in_a_queue()
    };
    let resized = ValidatedRun {
        search_workers: 5,
        ..in_a_queue()
    };
    let search = || job("search-g0-a1");
    let table: Vec<(&str, &ValidatedRun, Vec<ObservedJob>, &str)> = vec![
        (
            "a Job that waits in a queue is left to it",
            &queue,
            vec![prepared(), built(), search().queued()],
            "nothing | Queued | Progressing False Queued | Succeeded Unknown InProgress",
        ),
        (
            "the first Job of a run waits, too",
            &queue,
            vec![job("prepare-a1").queued()],
            "nothing | Queued | Progressing False Queued | Succeeded Unknown InProgress",
        ),
        (
            "a Job that was cut to fewer workers is left as it is",
            &queue,
            vec![prepared(), built(), search().in_queue().sized(1).running()],
            "nothing | Searching | Progressing True Searching | Succeeded Unknown InProgress",
        ),
        (
            "more workers are for the next Job",
            &resized,
            vec![prepared(), built(), search().in_queue().running()],
            "nothing | Searching | Progressing True Searching | Succeeded Unknown InProgress",
        ),
        (
            "a worker that was evicted counts for nothing",
            &queue,
            vec![
                prepared(),
                built(),
                search().queued().exited(Some(75)).exited(None),
            ],
            "nothing | Queued | Progressing False Queued | Succeeded Unknown InProgress",
        ),
        (
            "a suspended run takes its Job out of the queue",
            &suspended,
            vec![prepared(), built(), search().in_queue().running()],
            "withdraw search-g0-a1 | Suspended | Progressing False Suspending | Succeeded Unknown InProgress",
        ),
        (
            "a Job that still waits leaves the queue, too",
            &suspended,
            vec![prepared(), built(), search().queued()],
            "withdraw search-g0-a1 | Suspended | Progressing False Suspending | Succeeded Unknown InProgress",
        ),
        (
            "a Job on its way out is waited for",
            &suspended,
            vec![prepared(), built(), search().in_queue().running().leaving()],
            "nothing | Suspended | Progressing False Suspending | Succeeded Unknown InProgress",
        ),
        (
            "a run whose Job has left the queue is suspended",
            &suspended,
            vec![prepared(), built()],
            "nothing | Suspended | Progressing False Suspended | Succeeded Unknown InProgress",
        ),
        (
            "a run that goes on makes the same attempt again",
            &queue,
            vec![prepared(), built()],
            "create search-g0-a1 x3 | Searching | Progressing True Starting | Succeeded Unknown InProgress",
        ),
        (
            "a Job that somebody else put into a queue is left to it, too",
            &alone,
            vec![prepared(), built(), search().queued().sized(1)],
            "nothing | Queued | Progressing False Queued | Succeeded Unknown InProgress",
        ),
    ];
    for (what, run, jobs, expected) in table {
        let jobs: Vec<_> = jobs
            .into_iter()
            .map(|job| ObservedJob {
                made_from: run.made_from.of_task(job.key.task),
                ..job
            })
            .collect();
        assert_eq!(line(&after(run, vec![], jobs)), expected, "{what}");
    }
}

#[test]
fn what_a_queue_gave_is_told_beside_what_was_asked_for() {
    let run = in_a_queue();
    let cut = job("search-g0-a1").in_queue().sized(1).running();
    let cut = ObservedJob {
        made_from: run.made_from.of_task(TaskKind::Search),
        ..cut
    };
    let cut = cut.says_generation(1);
    let decision = after(
        &run,
        vec![prepared(), built()],
        vec![prepared(), built(), cut],
    );
    let progressing = get(&decision.status.conditions, ConditionType::Progressing).unwrap();
    assert_eq!(
        progressing.message,
        "1 worker is at work; queue \"gpus\" gave 1 of 3"
    );
}
