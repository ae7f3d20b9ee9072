//! What a run was expected to take, and how far that was off.

use darwinlm_api::conditions::{self, ConditionType, Reason};
use darwinlm_api::{ForecastStatus, PruningRunStatus};

use super::Ended;
use crate::run_controller::validate::ValidatedRun;

/// Most percent that are told.
const MOST_PERCENT: i128 = 1_000_000;

/// The forecast, with its error once the run has succeeded: one that failed, or whose budget ended its
/// search, did not do what was forecast.
pub(super) fn held_against(
    run: &ValidatedRun,
    status: &PruningRunStatus,
    ended: Option<&Ended>,
) -> Option<ForecastStatus> {
    let forecast = i64::try_from(run.forecast_gpu_seconds?).ok()?;
    let has_succeeded = matches!(ended, Some(Ended::Succeeded));
    let search = conditions::get(&status.conditions, ConditionType::SearchComplete);
    let was_cut = search.is_some_and(|search| search.reason == Reason::BudgetSpent.as_str());
    let taken = status.gpu_seconds.filter(|_| has_succeeded && !was_cut);
    Some(ForecastStatus {
        gpu_seconds: forecast,
        error_percent: taken.map(|taken| error_percent(forecast, taken.total())),
    })
}

/// Hundredths of the forecast that were taken beyond it, rounded away from nothing at halves.
fn error_percent(forecast: i64, taken: i64) -> i32 {
    let (forecast, beyond) = (
        i128::from(forecast),
        i128::from(taken) - i128::from(forecast),
    );
    let hundredths = beyond * 100;
    let half = if beyond < 0 {
        -forecast / 2
    } else {
        forecast / 2
    };
    let percent = (hundredths + half) / forecast.max(1);
    i32::try_from(percent.clamp(-100, MOST_PERCENT)).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_what_was_taken_beyond_the_forecast() {
        for (forecast, taken, percent) in [
            (100, 100, 0),
            (100, 125, 25),
            (100, 75, -25),
            (200, 201, 1),
            (200, 199, -1),
            (1000, 1004, 0),
            (100, 0, -100),
            (1, i64::MAX, 1_000_000),
            (1_000_000_000_000_000, 0, -100),
        ] {
            assert_eq!(
                error_percent(forecast, taken),
                percent,
                "{forecast} {taken}"
            );
        }
    }
}
