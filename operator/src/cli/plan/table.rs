//! The forecast as people read it.

use darwinlm_task::{Forecast, TaskKind, TaskTime, TimeForecast};

use crate::run_controller::validate::ValidatedRun;
use darwinlm_report::{bytes, grouped};

/// The page. Pure.
pub(super) fn page(run: &ValidatedRun, forecast: &Forecast) -> String {
    let mut page = format!("PruningRun {}\n", run.identity.name);
    page += &what(forecast);
    page += &searching(forecast);
    page += &memory(forecast);
    page += &storage(forecast);
    page += &tasks(forecast);
    page += &by_workers(forecast);
    page += &budget(run, forecast);
    page
}

fn line(name: &str, text: &str) -> String {
    format!("  {name:<16}{text}\n")
}

fn what(forecast: &Forecast) -> String {
    let (dense, left) = (forecast.dense_parameters, forecast.target_parameters);
    let percent = (left * 100).checked_div(dense).unwrap_or(100);
    let model = format!(
        "{} parameters in {} blocks",
        grouped(dense),
        forecast.blocks
    );
    let target = format!("{} parameters, {percent} % of dense", grouped(left));
    line("model", &model) + &line("target", &target)
}

fn searching(forecast: &Forecast) -> String {
    let search = &forecast.search;
    let candidates: Vec<_> = search.candidates.iter().map(u32::to_string).collect();
    let trials = format!(
        "{}: {} generations of {}",
        grouped(search.trials),
        search.generations,
        candidates.join(" + ")
    );
    let tokens = format!(
        "{} to train on, {} to score",
        grouped(search.tokens_trained),
        grouped(search.tokens_scored)
    );
    line("trials", &trials) + &line("their tokens", &tokens)
}

fn memory(forecast: &Forecast) -> String {
    let of = forecast.memory_available;
    let of = of.map_or_else(String::new, |has| {
        format!(", of {} that it has", bytes(has))
    });
    let mut lines = format!("\nMemory of a worker, at most{of}\n");
    for of_task in &forecast.memory {
        let fits = match &of_task.does_not_fit {
            Some(_) => "  does not fit",
            None => "",
        };
        let task = of_task.task.name();
        lines += &format!("  {task:<16}{:>12}{fits}\n", bytes(of_task.bytes));
    }
    lines
}

fn storage(forecast: &Forecast) -> String {
    let mut lines = "\nStorage\n".to_owned();
    let mut all = 0_u64;
    for part in &forecast.storage {
        all = all.saturating_add(part.bytes);
        let shared = if part.shared {
            "  shared with runs of the same inputs"
        } else {
            ""
        };
        lines += &format!("  {:<16}{:>12}{shared}\n", part.what, bytes(part.bytes));
    }
    lines + &format!("  {:<16}{:>12}\n", "together", bytes(all))
}

fn tasks(forecast: &Forecast) -> String {
    let Some(own) = forecast.times.first() else {
        return String::new();
    };
    let device = &forecast.rates.device;
    let mut lines = format!(
        "\nTime on {device}\n  {:<16}{:>8}{:>14}{:>14}{:>16}\n",
        "task", "workers", "time", "GPU hours", "of them idle"
    );
    for task in &own.tasks {
        lines += &row(
            task.task.name(),
            Some(task.workers),
            task.seconds,
            task.device_seconds(),
            task.idle_seconds,
        );
    }
    let idle = own.tasks.iter().map(|task| task.idle_seconds).sum();
    lines + &row("together", None, own.seconds(), own.device_seconds(), idle)
}

fn row(name: &str, workers: Option<u32>, seconds: f64, held: f64, idle: f64) -> String {
    let workers = workers.map_or_else(String::new, |workers| workers.to_string());
    let idle = format!("{:.0} %", 100.0 * idle / held.max(f64::MIN_POSITIVE));
    format!(
        "  {name:<16}{workers:>8}{:>14}{:>14}{idle:>16}\n",
        duration(seconds),
        hours(held)
    )
}

/// A line for each number of workers that building the database and the search may have.
fn by_workers(forecast: &Forecast) -> String {
    let others = forecast.times.iter().skip(1);
    let mut lines = format!(
        "\nWith other numbers of workers\n  {:<16}{:>8}{:>14}{:>14}{:>16}\n",
        "", "workers", "time", "GPU hours", "of them idle"
    );
    for of_number in others {
        let idle = of_number.tasks.iter().map(|task| task.idle_seconds).sum();
        let (seconds, held) = (of_number.seconds(), of_number.device_seconds());
        lines += &row("", Some(of_number.search_workers), seconds, held, idle);
    }
    if forecast.times.len() > 1 {
        lines
    } else {
        String::new()
    }
}

/// After which generation the budget ends the search, if it does.
fn budget(run: &ValidatedRun, forecast: &Forecast) -> String {
    let (Some(budget), Some(own)) = (run.budget_gpu_seconds, forecast.times.first()) else {
        return String::new();
    };
    let said = |words: &str| format!("\nBudget of {} GPU hours: {words}\n", hours(budget as f64));
    let generations = forecast.search.generations;
    match reached(own, generations, budget as f64) {
        reached if reached >= generations => said("enough for the whole search"),
        0 => said("spent before the first generation ends"),
        reached => said(&format!(
            "spent after about {reached} of {generations} generations"
        )),
    }
}

/// Generations that end within so many device seconds.
fn reached(times: &TimeForecast, generations: u32, budget: f64) -> u32 {
    let of = |chosen: fn(&TaskTime) -> bool| -> f64 {
        let tasks = times.tasks.iter().filter(|task| chosen(task));
        tasks.map(TaskTime::device_seconds).sum()
    };
    let before = of(|task| matches!(task.task, TaskKind::Measure | TaskKind::BuildDatabase));
    let searching = of(|task| task.task == TaskKind::Search);
    let each = (searching / f64::from(generations.max(1))).max(f64::MIN_POSITIVE);
    // The search ends at the first end of a generation at which the budget is spent.
    let ends = ((budget - before) / each)
        .ceil()
        .clamp(0.0, f64::from(generations));
    ends as u32
}

/// GPU hours, with as many places as they are worth.
fn hours(seconds: f64) -> String {
    let hours = seconds / 3600.0;
    match hours {
        _ if hours >= 100.0 => format!("{hours:.0}"),
        _ if hours >= 1.0 => format!("{hours:.1}"),
        _ => format!("{hours:.3}"),
    }
}

/// In its two largest units.
fn duration(seconds: f64) -> String {
    let whole =
        k8s_openapi::jiff::SignedDuration::from_secs(seconds.ceil().clamp(0.0, 1e12) as i64);
    crate::cli::duration::said(whole)
}

#[cfg(test)]
mod tests;
