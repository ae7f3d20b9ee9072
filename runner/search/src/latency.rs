//! Measured times of modules by size: what latency ladders and speed-up budgets are made from.

use serde::{Deserialize, Serialize};

use crate::cost::{CostError, Costs};
use crate::ladder::{Ladder, LadderError, Ladders};
use crate::module::{ModuleKind, PerKind};

/// How long one module of each kind takes at each size that was measured, and everything else of a
/// forward pass once: nanoseconds on one device, on one workload.
///
/// The times are as measured: tile sizes, a gather of heads or noise may make a smaller module the
/// slower one. A removed one takes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawTable", into = "RawTable")]
pub struct LatencyTable {
    base: u64,
    times: PerKind<Vec<(u32, u64)>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawTable {
    base_nanoseconds: u64,
    attention: Vec<(u32, u64)>,
    mlp: Vec<(u32, u64)>,
}

/// Why numbers are no table of latencies.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LatencyError {
    /// Sizes are not those of a module from dense to removed.
    #[error(
        "the measured sizes of {kind} are {found:?}; they must fall strictly, from the dense module \
         to 0"
    )]
    Sizes {
        /// The kind of module.
        kind: ModuleKind,
        /// Units kept, as given.
        found: Vec<u32>,
    },
    /// A removed module takes time.
    #[error("removed {kind} takes {found} ns; accepted: 0")]
    Removed {
        /// The kind of module.
        kind: ModuleKind,
        /// Its time.
        found: u64,
    },
    /// A ladder has a size that nobody measured.
    #[error("{kind} with {units} units was not measured; measured were {measured:?}")]
    NotMeasured {
        /// The kind of module.
        kind: ModuleKind,
        /// Units kept.
        units: u32,
        /// The sizes that were.
        measured: Vec<u32>,
    },
    /// The times make no costs.
    #[error(transparent)]
    Costs(#[from] CostError),
}

impl LatencyTable {
    /// A table of (units kept, nanoseconds), dense first, (0, 0) last.
    ///
    /// # Errors
    /// Where sizes do not fall strictly to 0, or a removed module takes time.
    pub fn new(base: u64, times: PerKind<Vec<(u32, u64)>>) -> Result<Self, LatencyError> {
        for kind in ModuleKind::ALL {
            let of_kind = &times[kind];
            let falls = of_kind.windows(2).all(|pair| pair[1].0 < pair[0].0);
            let removed = of_kind.last().filter(|&&(units, _)| units == 0);
            match removed {
                Some(&(_, found)) if found > 0 => {
                    return Err(LatencyError::Removed { kind, found });
                }
                Some(_) if falls && of_kind.len() > 1 => {}
                _ => {
                    let found = of_kind.iter().map(|&(units, _)| units).collect();
                    return Err(LatencyError::Sizes { kind, found });
                }
            }
        }
        Ok(Self { base, times })
    }

    /// The dense model of so many blocks, as measured: what a speed-up is a multiple of.
    pub fn dense(&self, blocks: u32) -> u64 {
        let block: u64 = ModuleKind::ALL
            .map(|kind| self.times[kind][0].1)
            .iter()
            .sum();
        self.base + u64::from(blocks) * block
    }

    /// The ladder of a kind whose levels are spaced evenly in time; see
    /// [`Ladder::spaced_by_cost`]. A size that is no faster than a larger one is left out: it
    /// would only be a worse module.
    ///
    /// # Errors
    /// Where the levels asked for make none.
    pub fn ladder(&self, kind: ModuleKind, levels: u8) -> Result<Ladder, LadderError> {
        let mut faster: Vec<(u32, u64)> = Vec::new();
        for &(units, time) in &self.times[kind] {
            let is_faster = faster.last().is_none_or(|&(_, last)| time < last);
            if is_faster || units == 0 {
                faster.push((units, time));
            }
        }
        Ladder::spaced_by_cost(&faster, levels)
    }

    /// What every level of some ladders costs in time: at least what every deeper one takes, see
    /// [`Costs::measured`].
    ///
    /// # Errors
    /// Where a level has a size that was not measured.
    pub fn costs(&self, ladders: &Ladders) -> Result<Costs, LatencyError> {
        let mut levels = PerKind::of(|_| Vec::new());
        for kind in ModuleKind::ALL {
            for &units in ladders[kind].as_slice() {
                levels[kind].push(self.time(kind, units)?);
            }
        }
        Ok(Costs::measured(self.base, levels)?)
    }

    /// Nanoseconds of a module that keeps so many units.
    fn time(&self, kind: ModuleKind, units: u32) -> Result<u64, LatencyError> {
        let of_kind = &self.times[kind];
        let found = of_kind.iter().find(|(measured, _)| *measured == units);
        found
            .map(|&(_, time)| time)
            .ok_or_else(|| LatencyError::NotMeasured {
                kind,
                units,
                measured: of_kind.iter().map(|&(measured, _)| measured).collect(),
            })
    }
}

impl TryFrom<RawTable> for LatencyTable {
    type Error = LatencyError;

    fn try_from(raw: RawTable) -> Result<Self, LatencyError> {
        let RawTable {
            base_nanoseconds,
            attention,
            mlp,
        } = raw;
        Self::new(base_nanoseconds, PerKind { attention, mlp })
    }
}

impl From<LatencyTable> for RawTable {
    fn from(table: LatencyTable) -> RawTable {
        let LatencyTable {
            base,
            times: PerKind { attention, mlp },
        } = table;
        RawTable {
            base_nanoseconds: base,
            attention,
            mlp,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::genome::Genome;
    use crate::level::Level;

    fn table() -> LatencyTable {
        let times = PerKind {
            attention: vec![(4, 90), (3, 70), (2, 80), (1, 30), (0, 0)],
            mlp: vec![(40, 200), (30, 210), (20, 110), (10, 60), (0, 0)],
        };
        LatencyTable::new(1000, times).unwrap()
    }

    #[test]
    fn a_table_holds_what_was_measured_and_a_removed_module_takes_nothing() {
        let text = "{\"baseNanoseconds\":1000,\
                    \"attention\":[[4,90],[3,70],[2,80],[1,30],[0,0]],\
                    \"mlp\":[[40,200],[30,210],[20,110],[10,60],[0,0]]}";
        assert_eq!(serde_json::to_string(&table()).unwrap(), text);
        assert_eq!(serde_json::from_str::<LatencyTable>(text).unwrap(), table());
        let takes_time = text.replacen("[0,0]", "[0,5]", 1);
        let error = serde_json::from_str::<LatencyTable>(&takes_time).unwrap_err();
        let said = error.to_string();
        assert!(said.contains("removed attention takes 5 ns"), "{said}");
    }

    #[test]
    fn a_size_that_is_no_faster_than_a_larger_one_is_no_level() {
        let ladders = PerKind::of(|kind| table().ladder(kind, 4).unwrap());
        assert_eq!(ladders.attention.as_slice(), [4, 3, 1, 0]);
        assert_eq!(ladders.mlp.as_slice(), [40, 20, 10, 0]);
        let costs = table().costs(&ladders).unwrap();
        let genome = Genome::uniform(3, Level::new(1).unwrap());
        assert_eq!(costs.of_genome(&genome), 1000 + 3 * (70 + 110));
        let dense = Genome::uniform(3, Level::DENSE);
        assert_eq!(costs.of_genome(&dense), table().dense(3));
    }

    #[test]
    fn a_level_is_charged_the_slower_one_below_it_and_the_dense_model_what_it_took() {
        let ladders = Ladders {
            attention: Ladder::new(vec![4, 3, 2, 0]).unwrap(),
            mlp: Ladder::new(vec![40, 30, 0]).unwrap(),
        };
        let costs = table().costs(&ladders).unwrap();
        let genome = Genome::uniform(3, Level::new(1).unwrap());
        assert_eq!(costs.of_genome(&genome), 1000 + 3 * (80 + 210));
        assert_eq!(table().dense(3), 1000 + 3 * (90 + 200));
        let other = Ladders {
            mlp: Ladder::new(vec![40, 25, 0]).unwrap(),
            ..ladders
        };
        let error = table().costs(&other).unwrap_err().to_string();
        assert!(
            error.starts_with("mlp with 25 units was not measured"),
            "{error}"
        );
    }

    #[test]
    fn sizes_that_are_no_way_from_dense_to_removed_are_refused() {
        for attention in [
            vec![(4, 9), (4, 8), (0, 0)],
            vec![(4, 9), (1, 8)],
            vec![(0, 0)],
            vec![],
        ] {
            let mlp = vec![(40, 200), (0, 0)];
            let error = LatencyTable::new(0, PerKind { attention, mlp }).unwrap_err();
            assert!(matches!(error, LatencyError::Sizes { .. }), "{error}");
        }
    }
}
