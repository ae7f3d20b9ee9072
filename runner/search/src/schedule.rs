//! The selection steps of a generation.

use serde::{Deserialize, Serialize};

/// One cut within a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SelectionStep {
    /// Candidates left after the step.
    pub survivors: u32,
    /// Tokens that every candidate of the step trains on; 0 scores without training.
    pub training_tokens: u64,
    /// Tokens on which every candidate of the step is scored.
    pub fitness_tokens: u64,
}

/// The selection steps: survivors fall strictly, to 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<SelectionStep>", into = "Vec<SelectionStep>")]
pub struct Schedule {
    steps: Vec<SelectionStep>,
}

/// Why steps are no schedule. Steps are counted from 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// None, or more than a trial's name has room for.
    #[error("a schedule has {found} selection steps; from 1 to 10 are possible")]
    Length {
        /// Steps given.
        found: usize,
    },
    /// A step cuts nobody.
    #[error("selection step {step} leaves {found} survivors of {before}; they fall strictly")]
    NotFalling {
        /// The step.
        step: usize,
        /// Survivors of the step before.
        before: u32,
        /// Survivors of this step.
        found: u32,
    },
    /// The last step leaves several, or none.
    #[error("the last selection step leaves {found} survivors; it must leave 1")]
    LastLeaves {
        /// Survivors of the last step.
        found: u32,
    },
    /// A single token predicts nothing.
    #[error("selection step {step} has {found} {purpose} tokens; {accepted}")]
    Tokens {
        /// The step.
        step: usize,
        /// What the tokens are for.
        purpose: &'static str,
        /// Tokens given.
        found: u64,
        /// What would do.
        accepted: &'static str,
    },
    /// Fewer offspring than the first step keeps.
    #[error("{offspring} offspring are fewer than the {survivors} that selection step 0 keeps")]
    Offspring {
        /// Offspring of a generation.
        offspring: u32,
        /// Survivors of the first step.
        survivors: u32,
    },
    /// Training that continues cannot shrink.
    #[error(
        "selection step {step} trains on {found} tokens after {before}; where training continues \
         from step to step, each step has as many as the one before or at least 2 more"
    )]
    Continued {
        /// The step.
        step: usize,
        /// Training tokens of the step before.
        before: u64,
        /// Training tokens of this step.
        found: u64,
    },
}

/// Most selection steps, so that a step is one digit of a trial's name.
const MOST_STEPS: usize = 10;

impl Schedule {
    /// A schedule of one to ten steps.
    pub fn new(steps: Vec<SelectionStep>) -> Result<Schedule, ScheduleError> {
        if steps.is_empty() || steps.len() > MOST_STEPS {
            return Err(ScheduleError::Length { found: steps.len() });
        }
        for (before, pair) in steps.windows(2).enumerate() {
            let (before, found, step) = (pair[0].survivors, pair[1].survivors, before + 1);
            if found >= before {
                return Err(ScheduleError::NotFalling {
                    step,
                    before,
                    found,
                });
            }
        }
        for (step, of_step) in steps.iter().enumerate() {
            of_step.check_tokens(step)?;
        }
        match steps.last() {
            Some(SelectionStep { survivors: 1, .. }) => Ok(Schedule { steps }),
            last => Err(ScheduleError::LastLeaves {
                found: last.map_or(0, |last| last.survivors),
            }),
        }
    }

    /// The paper's: 8, 4, 2, 1 survivors; 10, 50, 100 and 200 thousand training tokens.
    pub fn paper() -> Schedule {
        let steps = [
            (8, 10_000, 1024),
            (4, 50_000, 2048),
            (2, 100_000, 4096),
            (1, 200_000, 8192),
        ];
        let steps = steps.map(
            |(survivors, training_tokens, fitness_tokens)| SelectionStep {
                survivors,
                training_tokens,
                fitness_tokens,
            },
        );
        Schedule {
            steps: steps.to_vec(),
        }
    }

    /// The steps, the first one first.
    pub fn steps(&self) -> &[SelectionStep] {
        &self.steps
    }

    /// Checks that so many offspring fill the first step.
    pub fn fit(&self, offspring: u32, continue_training: bool) -> Result<(), ScheduleError> {
        let survivors = self.steps[0].survivors;
        if offspring < survivors {
            return Err(ScheduleError::Offspring {
                offspring,
                survivors,
            });
        }
        if continue_training {
            for (before, pair) in self.steps.windows(2).enumerate() {
                let (before, found, step) =
                    (pair[0].training_tokens, pair[1].training_tokens, before + 1);
                if found != before && found < before + 2 {
                    return Err(ScheduleError::Continued {
                        step,
                        before,
                        found,
                    });
                }
            }
        }
        Ok(())
    }
}

impl SelectionStep {
    fn check_tokens(&self, step: usize) -> Result<(), ScheduleError> {
        let wrong = |purpose, found, accepted| {
            Err(ScheduleError::Tokens {
                step,
                purpose,
                found,
                accepted,
            })
        };
        // A bound far above use keeps every later sum within 64 bits.
        let most = 1 << 48;
        if self.training_tokens == 1 || self.training_tokens > most {
            return wrong(
                "training",
                self.training_tokens,
                "0, or from 2 to 2^48 are possible",
            );
        }
        if self.fitness_tokens < 2 || self.fitness_tokens > most {
            return wrong(
                "fitness",
                self.fitness_tokens,
                "from 2 to 2^48 are possible",
            );
        }
        Ok(())
    }
}

impl TryFrom<Vec<SelectionStep>> for Schedule {
    type Error = ScheduleError;

    fn try_from(steps: Vec<SelectionStep>) -> Result<Schedule, ScheduleError> {
        Schedule::new(steps)
    }
}

impl From<Schedule> for Vec<SelectionStep> {
    fn from(schedule: Schedule) -> Vec<SelectionStep> {
        schedule.steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(survivors: &[u32]) -> Vec<SelectionStep> {
        let step = |&survivors| SelectionStep {
            survivors,
            training_tokens: 10,
            fitness_tokens: 10,
        };
        survivors.iter().map(step).collect()
    }

    #[test]
    fn the_papers_schedule_is_one() {
        let paper = Schedule::paper();
        assert_eq!(Schedule::new(paper.steps().to_vec()).unwrap(), paper);
        assert!(paper.fit(16, true).is_ok());
        assert!(matches!(
            paper.fit(7, false),
            Err(ScheduleError::Offspring { .. })
        ));
    }

    #[test]
    fn survivors_fall_strictly_to_one() {
        assert!(matches!(
            Schedule::new(vec![]),
            Err(ScheduleError::Length { found: 0 })
        ));
        assert!(Schedule::new(steps(&[1])).is_ok());
        assert!(matches!(
            Schedule::new(steps(&[4, 4, 1])),
            Err(ScheduleError::NotFalling {
                step: 1,
                before: 4,
                found: 4
            })
        ));
        assert!(matches!(
            Schedule::new(steps(&[4, 2])),
            Err(ScheduleError::LastLeaves { found: 2 })
        ));
        assert!(matches!(
            Schedule::new(steps(&[1, 0])),
            Err(ScheduleError::LastLeaves { found: 0 })
        ));
    }

    #[test]
    fn a_single_token_predicts_nothing_and_is_refused() {
        let mut lonely = steps(&[1]);
        lonely[0].fitness_tokens = 1;
        assert!(matches!(
            Schedule::new(lonely),
            Err(ScheduleError::Tokens { .. })
        ));
        let mut lonely = steps(&[1]);
        lonely[0].training_tokens = 1;
        assert!(matches!(
            Schedule::new(lonely.clone()),
            Err(ScheduleError::Tokens { .. })
        ));
        lonely[0].training_tokens = 0;
        assert!(Schedule::new(lonely).is_ok());
    }

    #[test]
    fn training_that_continues_never_shrinks() {
        let mut shrinking = steps(&[2, 1]);
        shrinking[1].training_tokens = 9;
        let schedule = Schedule::new(shrinking).unwrap();
        assert!(schedule.fit(2, false).is_ok());
        assert!(matches!(
            schedule.fit(2, true),
            Err(ScheduleError::Continued { .. })
        ));
    }
}
