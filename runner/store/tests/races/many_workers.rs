//! Whole searches by one worker and by many, undisturbed, stopped and killed.

use std::collections::BTreeSet;
use std::time::Duration;

use darwinlm_search::{Problem, replay};
use darwinlm_store::{
    Ledger, Sheet, Store, Timesheet, Validations, WorkEnd, Worked, read_workers, sum_workers,
};
use darwinlm_task::TaskKind;
use tokio::time::{Instant, sleep};

use crate::setting::{folder, memory, options, paths, run, run_impatiently, timesheet, work};
use crate::table::{Table, problem, reference, trials};

async fn all(store: &Store, problem: &Problem, workers: usize, table: &Table) -> Vec<Worked> {
    let one = |i: usize| {
        let (store, problem, table) = (store.clone(), problem.clone(), table.clone());
        tokio::spawn(async move {
            run(&store, &problem, &format!("w{i}"), table)
                .await
                .unwrap()
        })
    };
    let ended = futures::future::join_all((0..workers).map(one)).await;
    ended.into_iter().map(|worked| worked.unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_number_of_workers_ends_with_the_same_report_and_no_trial_is_computed_twice() {
    let problem = problem(4);
    let reference = reference(&problem);
    let mut reports = Vec::new();
    for workers in [1, 3, 8] {
        let (_folder, local) = folder();
        for store in [local, memory()] {
            let table = Table::new(Duration::from_millis(2));
            let ended = all(&store, &problem, workers, &table).await;
            assert!(ended.iter().all(|worked| worked.end == WorkEnd::Done));
            reports.extend(ended.into_iter().map(|worked| worked.report));
            let ran = table.ran.lock().unwrap().clone();
            assert_eq!(ran.len(), trials(&problem));
            assert_eq!(ran.iter().collect::<BTreeSet<_>>().len(), ran.len());
            let (entries, replayed) = Ledger::new(&store, &paths()).verify().await.unwrap();
            assert_eq!(replayed.search.digest(), reference.digest());
            assert_eq!(replay(&entries).unwrap().survivors, replayed.survivors);
        }
    }
    let report = &reports[0];
    assert!(reports.iter().all(|other| other == report));
    assert_eq!(report.digest, reference.digest().to_string());
    assert_eq!((report.generation, report.generations), (4, 4));
    assert_eq!(
        report.trials.done + report.trials.failed,
        trials(&problem) as u64
    );
    assert!(
        report.trials.failed > 0,
        "the table has no failures to test with"
    );
    assert_eq!(report.trials.repeated, 0);
    let newest = &report.survivors[0];
    assert_eq!(&newest.genome, &reference.survivor().genome);
    assert_eq!(
        newest.validation_kl,
        Some(format!("{}.5", newest.born_in_generation))
    );
    assert_eq!(newest.validation_perplexity.as_deref(), Some("10"));
    let elder = &report.survivors[1..];
    assert!(
        elder
            .iter()
            .all(|elder| elder.validation_perplexity.is_none())
    );
    assert!(
        report
            .survivors
            .is_sorted_by(|a, b| a.born_in_generation > b.born_in_generation)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_survivor_is_validated_once_by_whoever_claims_it() {
    let (store, problem) = (memory(), problem(6));
    let table = Table::new(Duration::from_millis(1));
    let ended = all(&store, &problem, 4, &table).await;
    let mut validated = table.validated.lock().unwrap().clone();
    validated.sort_unstable();
    let (_, replayed) = Ledger::new(&store, &paths()).verify().await.unwrap();
    let born = replayed
        .survivors
        .iter()
        .map(|survivor| survivor.born_in_generation);
    assert_eq!(
        validated,
        born.collect::<BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>()
    );
    assert!(
        ended[0]
            .report
            .survivors
            .iter()
            .all(|survivor| survivor.validation_kl.is_some())
    );
    let start = Validations::new(&store, &paths())
        .get(0)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (start.genome, start.kl.as_deref()),
        (problem.start, Some("0.5"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_killed_at_any_moment_costs_at_most_its_trial_in_flight() {
    let problem = problem(3);
    let (_folder, store) = folder();
    let table = Table::new(Duration::from_millis(3));
    let mut kills = 0;
    // Moments from the first write to the middle of the search.
    for milliseconds in [1, 7, 23, 40, 61, 90, 133, 170] {
        let (store, problem, table) = (store.clone(), problem.clone(), table.clone());
        let worker =
            tokio::spawn(async move { run_impatiently(&store, &problem, "a", table).await });
        sleep(Duration::from_millis(milliseconds)).await;
        worker.abort();
        if worker.await.is_err() {
            kills += 1;
        }
    }
    assert!(kills > 3, "the search was over before it could be killed");
    let worked = run_impatiently(&store, &problem, "a", table.clone())
        .await
        .unwrap();
    assert_eq!(
        worked.report.digest,
        reference(&problem).digest().to_string()
    );
    let ran = table.ran.lock().unwrap().len();
    assert!(
        ran <= trials(&problem) + kills,
        "{ran} trials ran after {kills} kills"
    );
    assert!(worked.report.trials.repeated <= kills as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_killed_and_replaced_at_random_end_with_the_same_digest() {
    let problem = problem(4);
    let (_folder, store) = folder();
    let table = Table::new(Duration::from_millis(3));
    for round in 0..6_u64 {
        let start = |i: u64| {
            let (store, problem, table) = (store.clone(), problem.clone(), table.clone());
            let name = format!("w{round}-{i}");
            tokio::spawn(async move { run_impatiently(&store, &problem, &name, table).await })
        };
        let workers: Vec<_> = (0..3).map(start).collect();
        for (i, worker) in workers.iter().enumerate() {
            sleep(Duration::from_millis(5 + 17 * (round + i as u64) % 40)).await;
            worker.abort();
        }
        for worker in workers {
            if let Ok(ended) = worker.await {
                ended.unwrap();
            }
        }
    }
    let last = |name| run_impatiently(&store, &problem, name, table.clone());
    let (one, other) = tokio::join!(last("x"), last("y"));
    let ended = [one.unwrap(), other.unwrap()];
    assert_eq!(ended[0].report, ended[1].report);
    assert_eq!(
        ended[0].report.digest,
        reference(&problem).digest().to_string()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_worker_gives_its_trial_back_and_nobody_waits_for_it() {
    const LONG: Duration = Duration::from_secs(20);
    let begun = std::time::Instant::now();
    // Stopped in the middle of a trial, and of a validation.
    for (pause, validation_pause) in [(LONG, Duration::ZERO), (Duration::ZERO, LONG)] {
        let (store, problem) = (memory(), problem(1));
        let slow = Table {
            validation_pause,
            ..Table::new(pause)
        };
        let (options, stop) = options("slow");
        let working = {
            let (store, problem, slow) = (store.clone(), problem.clone(), slow.clone());
            tokio::spawn(async move { work(&store, &paths(), &problem, slow, options).await })
        };
        let is_at_it = || match pause {
            LONG => !slow.ran.lock().unwrap().is_empty(),
            _ => !slow.validated.lock().unwrap().is_empty(),
        };
        while !is_at_it() {
            sleep(Duration::from_millis(1)).await;
        }
        stop.send(true).unwrap();
        assert_eq!(working.await.unwrap().unwrap().end, WorkEnd::Stopped);
        // This worker would wait ten minutes for a claim that was not given back.
        let next = run(&store, &problem, "fast", Table::new(Duration::ZERO));
        let worked = tokio::time::timeout(LONG, next)
            .await
            .expect("it waits")
            .unwrap();
        assert_eq!(worked.end, WorkEnd::Done);
        let workers = read_workers(&store, &paths()).await.unwrap();
        let names: Vec<_> = workers.iter().map(|file| file.worker.as_str()).collect();
        assert_eq!(names, ["fast", "slow"]);
        assert!(workers[1].lost_seconds > 0.0 && workers[1].in_flight_seconds == 0.0);
    }
    assert!(begun.elapsed() < LONG, "somebody waited");
}

#[tokio::test]
async fn the_budget_ends_the_search_at_a_generation_boundary_and_raising_it_goes_on() {
    let (store, problem) = (memory(), problem(4));
    // A trial costs two seconds: one generation 30, two 60.
    let (mut poor, _stop) = options("a");
    poor.budget_gpu_seconds = Some(31);
    let worked = work(&store, &paths(), &problem, Table::new(Duration::ZERO), poor)
        .await
        .unwrap();
    assert_eq!(
        (worked.end, worked.report.generation),
        (WorkEnd::BudgetSpent, 2)
    );
    let (mut richer, _stop) = options("a");
    richer.budget_gpu_seconds = Some(61);
    let worked = work(
        &store,
        &paths(),
        &problem,
        Table::new(Duration::ZERO),
        richer,
    )
    .await
    .unwrap();
    assert_eq!(
        (worked.end, worked.report.generation),
        (WorkEnd::BudgetSpent, 3)
    );
    let worked = run(&store, &problem, "a", Table::new(Duration::ZERO))
        .await
        .unwrap();
    assert_eq!((worked.end, worked.report.generation), (WorkEnd::Done, 4));
    assert_eq!(
        worked.report.digest,
        reference(&problem).digest().to_string()
    );
}

#[tokio::test]
async fn jobs_of_one_generation_each_make_the_same_search() {
    let (store, problem) = (memory(), problem(3));
    for until in 1..=3 {
        let (mut job, _stop) = options(&format!("job-{until}"));
        job.until_generation = until;
        let table = Table::new(Duration::ZERO);
        let worked = work(&store, &paths(), &problem, table.clone(), job)
            .await
            .unwrap();
        assert_eq!(
            (worked.end, worked.report.generation),
            (WorkEnd::Done, until)
        );
        assert_eq!(table.ran.lock().unwrap().len(), 15);
    }
    let (_, replayed) = Ledger::new(&store, &paths()).verify().await.unwrap();
    assert_eq!(replayed.search.digest(), reference(&problem).digest());
}

#[tokio::test]
async fn every_second_of_a_worker_is_accounted_for() {
    let (store, problem) = (memory(), problem(2));
    let (options, _stop) = options("a");
    let (started, progress) = (Instant::now(), options.progress.subscribe());
    let timesheet = timesheet(&store, &options).await;
    let table = Table::new(Duration::from_millis(10));
    let worked = darwinlm_store::work(&store, &paths(), &problem, table, &timesheet, options)
        .await
        .unwrap();
    let sum = timesheet.close(true).await.unwrap();
    let took = started.elapsed().as_secs_f64();
    let files = read_workers(&store, &paths()).await.unwrap();
    let [file] = files.as_slice() else {
        panic!("{files:?}")
    };
    let seconds = file.seconds();
    assert!(
        seconds <= took && took - seconds < 0.01 * took + 0.01,
        "{seconds} s of {took} s"
    );
    assert!(file.useful_seconds > 0.01 * trials(&problem) as f64);
    assert_eq!((file.lost_seconds, file.in_flight_seconds), (0.0, 0.0));
    assert_eq!(
        file.trials.done + file.trials.failed,
        trials(&problem) as u64
    );
    assert_eq!(sum_workers(&files, None), sum);
    assert_eq!(progress.borrow().as_ref(), Some(&worked.report));
}

#[tokio::test]
async fn a_killed_workers_seconds_are_lost_but_for_one_beat_and_count_for_each_device() {
    let (store, problem) = (memory(), problem(1));
    let (options, _stop) = options("killed");
    let beat = options.times.beat;
    let sheet = Sheet {
        worker: "killed",
        task: TaskKind::Search,
        devices: 4,
        started: Instant::now(),
        beat,
    };
    let started = Instant::now();
    let killed = {
        let (store, problem) = (store.clone(), problem.clone());
        tokio::spawn(async move {
            let timesheet = Timesheet::open(&store, &paths(), sheet).await.unwrap();
            let slow = Table::new(Duration::from_secs(60));
            darwinlm_store::work(&store, &paths(), &problem, slow, &timesheet, options).await
        })
    };
    sleep(20 * beat).await;
    killed.abort();
    let held = 4.0 * started.elapsed().as_secs_f64();
    assert!(killed.await.unwrap_err().is_cancelled());
    let next = run_impatiently(&store, &problem, "next", Table::new(Duration::ZERO));
    next.await.unwrap();
    let files = read_workers(&store, &paths()).await.unwrap();
    let killed = &files[0];
    let unknown = held - killed.seconds();
    // The machine may be busy: a beat that comes late is still one beat.
    assert!(
        (-0.01..4.0 * 3.0 * beat.as_secs_f64()).contains(&unknown),
        "{unknown} of {held}"
    );
    let lost = sum_workers(&files, None).lost as f64;
    assert!((lost - killed.in_flight_seconds).abs() <= 0.5, "{killed:?}");
    assert!(killed.in_flight_seconds > 0.5 * held, "{killed:?}");
}
