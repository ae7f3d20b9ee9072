//! Measured times of modules by size: what latency ladders and speed-up budgets are made from.

use serde::{Deserialize, Serialize};

use crate::cost::{CostError, Costs};
use crate::ladder::{Ladder, LadderError, Ladders};
use crate::module::{ModuleKind, PerKind};

/// How long one module of each kind takes at each size that was measured, and everything else of a
/// forward pass once: nanoseconds on one device, on one workload.
///
/// A smaller module is never slower here, and a removed one takes nothing.
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
    /// A smaller module takes longer, or a removed one takes time.
    #[error("{kind} with {units} units takes {found} ns, more than the {most} ns that it may")]
    Rises {
        /// The kind of module.
        kind: ModuleKind,
        /// Units kept.
        units: u32,
        /// Its time.
        found: u64,
        /// The time of the next larger module; 0 for a removed one.
        most: u64,
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
    /// A table of (units kept, nanoseconds), dense first, (0, 0) last; times never rise.
    ///
    /// # Errors
    /// Where sizes do not fall strictly to 0, or a time rises.
    pub fn new(base: u64, times: PerKind<Vec<(u32, u64)>>) -> Result<Self, LatencyError> {
        for kind in ModuleKind::ALL {
            let of_kind = &times[kind];
            let falls = of_kind.windows(2).all(|pair| pair[1].0 < pair[0].0);
            if !falls || of_kind.len() < 2 || of_kind.last().is_none_or(|last| last.0 != 0) {
                let found = of_kind.iter().map(|&(units, _)| units).collect();
                return Err(LatencyError::Sizes { kind, found });
            }
            for pair in of_kind.windows(2) {
                let (units, found) = pair[1];
                let most = if units == 0 { 0 } else { pair[0].1 };
                if found > most {
                    return Err(LatencyError::Rises {
                        kind,
                        units,
                        found,
                        most,
                    });
                }
            }
        }
        Ok(Self { base, times })
    }

    /// A table from raw measurements, in which noise and tile sizes may make a smaller module the
    /// slower one: neighbours out of order share their mean (isotonic regression, least squares),
    /// so that chance errors cancel instead of piling up in one direction.
    ///
    /// # Errors
    /// Where sizes do not fall strictly to 0.
    pub fn measured(base: u64, times: &PerKind<Vec<(u32, u64)>>) -> Result<Self, LatencyError> {
        let falling = PerKind::of(|kind| {
            let (sizes, raw): (Vec<u32>, Vec<u64>) = times[kind].iter().copied().unzip();
            let mut falling = falling(&raw);
            if let Some(removed) = falling.last_mut() {
                *removed = 0;
            }
            sizes.into_iter().zip(falling).collect()
        });
        Self::new(base, falling)
    }

    /// The ladder of a kind whose levels are spaced evenly in time; see
    /// [`Ladder::spaced_by_cost`].
    ///
    /// # Errors
    /// Where the levels asked for make none.
    pub fn ladder(&self, kind: ModuleKind, levels: u8) -> Result<Ladder, LadderError> {
        Ladder::spaced_by_cost(&self.times[kind], levels)
    }

    /// What every level of some ladders costs in time.
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

/// The falling sequence nearest to a sequence in least squares, rounded down: pools of neighbours
/// are merged into their mean while one rises above the pool before it.
fn falling(raw: &[u64]) -> Vec<u64> {
    let mut pools: Vec<(u128, usize)> = Vec::new();
    for &time in raw {
        let mut pool = (u128::from(time), 1);
        while let Some(&(sum, count)) = pools.last() {
            // A mean above the one before it, compared without division.
            if pool.0 * count as u128 <= sum * pool.1 as u128 {
                break;
            }
            pool = (pool.0 + sum, pool.1 + count);
            pools.pop();
        }
        pools.push(pool);
    }
    let mean = |(sum, count): (u128, usize)| {
        let mean = u64::try_from(sum / count as u128).expect("a mean is at most the largest");
        std::iter::repeat_n(mean, count)
    };
    pools.into_iter().flat_map(mean).collect()
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

    fn raw() -> PerKind<Vec<(u32, u64)>> {
        PerKind {
            attention: vec![(4, 90), (3, 70), (2, 80), (1, 30), (0, 5)],
            mlp: vec![(40, 200), (30, 150), (20, 110), (10, 60), (0, 0)],
        }
    }

    #[test]
    fn a_smaller_module_is_never_slower_and_a_removed_one_takes_nothing() {
        let table = LatencyTable::measured(1000, &raw()).unwrap();
        let text = "{\"baseNanoseconds\":1000,\
                    \"attention\":[[4,90],[3,75],[2,75],[1,30],[0,0]],\
                    \"mlp\":[[40,200],[30,150],[20,110],[10,60],[0,0]]}";
        assert_eq!(serde_json::to_string(&table).unwrap(), text);
        assert_eq!(serde_json::from_str::<LatencyTable>(text).unwrap(), table);
        let rising = text.replace("[3,75]", "[3,74]");
        let error = serde_json::from_str::<LatencyTable>(&rising).unwrap_err();
        assert!(
            error.to_string().contains("attention with 2 units"),
            "{error}"
        );
    }

    #[test]
    fn pools_share_their_mean_until_nothing_rises() {
        assert_eq!(falling(&[9, 1, 5, 6]), [9, 4, 4, 4]);
        assert_eq!(falling(&[1, 2, 3]), [2, 2, 2]);
        assert_eq!(falling(&[3, 2, 1]), [3, 2, 1]);
        assert!(falling(&[]).is_empty());
    }

    #[test]
    fn ladder_and_costs_follow_from_the_table() {
        let table = LatencyTable::measured(1000, &raw()).unwrap();
        let ladders = PerKind::of(|kind| table.ladder(kind, 2).unwrap());
        assert_eq!(ladders.attention.as_slice(), [4, 1, 0]);
        assert_eq!(ladders.mlp.as_slice(), [40, 20, 0]);
        let costs = table.costs(&ladders).unwrap();
        let genome = Genome::uniform(3, Level::new(1).unwrap());
        assert_eq!(costs.of_genome(&genome), 1000 + 3 * (30 + 110));
        let other = Ladders {
            mlp: Ladder::new(vec![40, 25, 0]).unwrap(),
            ..ladders
        };
        let error = table.costs(&other).unwrap_err().to_string();
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
            let times = PerKind { attention, ..raw() };
            let error = LatencyTable::measured(0, &times).unwrap_err();
            assert!(matches!(error, LatencyError::Sizes { .. }), "{error}");
        }
    }
}
