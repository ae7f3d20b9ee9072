//! The map of the crate; the essay is in `README.md`.
#![doc = include_str!("../README.md")]

mod budget;
mod cost;
mod digest;
mod fitness;
mod genome;
mod ladder;
mod ledger;
mod level;
mod minibatch;
mod module;
mod mutation;
mod optimizer;
mod problem;
mod randomness;
mod replay;
mod round;
mod schedule;
mod search;
mod selection;
mod shape;
mod start;
mod survivor;
mod trial;

pub use budget::{Budget, Exchange, Target};
pub use cost::{CostError, CostUnit, Costs};
pub use digest::{Digest, DigestError};
pub use fitness::{FailureKind, Fitness, FitnessError, FitnessKind, Outcome};
pub use genome::{Genome, GenomeError};
pub use ladder::{Ladder, LadderError, Ladders};
pub use ledger::{Entry, EntryError, GenerationEntry, Genesis, StepEntry, TrialEntry};
pub use level::{Level, LevelError};
pub use minibatch::{Minibatch, Piece, Pool, PoolError, SHORTEST_SEQUENCE};
pub use module::{Module, ModuleError, ModuleKind, PerKind};
pub use mutation::{Space, offspring};
pub use optimizer::Optimizer;
pub use problem::{MOST_GENERATIONS, MOST_OFFSPRING, Pins, Problem, ProblemError};
pub use randomness::{Purpose, Stream};
pub use replay::{Part, Replay, ReplayError, replay, verify_chain};
pub use schedule::{Schedule, ScheduleError, SelectionStep};
pub use search::{Search, SearchError, Told};
pub use selection::ranked;
pub use shape::{AttentionUnit, Shape, ShapeError};
pub use start::{Errors, StartError, start};
pub use survivor::Survivor;
pub use trial::{Trial, TrialId, TrialIdError};
