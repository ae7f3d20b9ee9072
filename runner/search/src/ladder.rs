//! Units kept at each level.

use serde::{Deserialize, Serialize};

use crate::level::Level;
use crate::module::PerKind;

/// Units kept at each level of one kind of module: level 0 first, strictly falling, the last 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<u32>", into = "Vec<u32>")]
pub struct Ladder {
    units_kept: Vec<u32>,
}

/// The ladders of both kinds, serialised as `{"attention": [9,8,…,0], "mlp": [1536,1376,…,0]}`.
pub type Ladders = PerKind<Ladder>;

/// Why a list of units is no ladder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LadderError {
    /// Fewer than two or more than 36 entries.
    #[error("a ladder has {found} entries; from 2 (dense and removed) to 36 are possible")]
    Length {
        /// Entries given.
        found: usize,
    },
    /// Two neighbours do not fall.
    #[error(
        "level {level} keeps {found} units and level {} keeps {before}: a ladder falls strictly",
        level - 1
    )]
    NotFalling {
        /// The level of the later entry.
        level: usize,
        /// What the level before keeps.
        before: u32,
        /// What this level keeps.
        found: u32,
    },
    /// The last level leaves something.
    #[error("the last level keeps {found} units; it must remove the module (0)")]
    LastKeeps {
        /// Units that the last level keeps.
        found: u32,
    },
    /// A module without units, or a granularity of nothing.
    #[error("a ladder needs at least one unit, one level and a granularity of one")]
    Nothing,
}

impl Ladder {
    /// A ladder of units kept, level 0 first.
    pub fn new(units_kept: Vec<u32>) -> Result<Ladder, LadderError> {
        if !(2..=36).contains(&units_kept.len()) {
            return Err(LadderError::Length {
                found: units_kept.len(),
            });
        }
        for (before, pair) in units_kept.windows(2).enumerate() {
            if pair[1] >= pair[0] {
                let level = before + 1;
                return Err(LadderError::NotFalling {
                    level,
                    before: pair[0],
                    found: pair[1],
                });
            }
        }
        match units_kept.last() {
            Some(0) => Ok(Ladder { units_kept }),
            last => Err(LadderError::LastKeeps {
                found: last.copied().unwrap_or_default(),
            }),
        }
    }

    /// Evenly spaced levels: level `l` removes `units * l / levels`, rounded half up to a multiple
    /// of `granularity`; the last removes all. A module with fewer than `levels` granules gets one
    /// level per granule. This gives the authors' ladders for Llama-3.1-8B and Qwen2.5-14B.
    pub fn spaced(units: u32, levels: u8, granularity: u32) -> Result<Ladder, LadderError> {
        if units == 0 || levels == 0 || granularity == 0 {
            return Err(LadderError::Nothing);
        }
        let granules = u64::from((units / granularity).max(1));
        let levels = u64::from(levels).min(granules);
        let granule = u64::from(granularity);
        let kept = (0..levels).map(|level| {
            let halves = 2 * u64::from(units) * level + levels * granule;
            let removed = halves / (2 * levels * granule) * granule;
            units - u32::try_from(removed).expect("a level before the last removes fewer than all")
        });
        Ladder::new(kept.chain([0]).collect())
    }

    /// Levels spaced evenly in measured cost: `table` holds (units kept, cost), dense first and
    /// with 0 units last. Level `l` is the entry that comes nearest to `(levels − l) / levels` of the
    /// dense cost; of equally near ones that which keeps more. An entry makes one level at most, so a
    /// table with few entries, or with costs that hardly fall, gives fewer levels.
    pub fn spaced_by_cost(table: &[(u32, u64)], levels: u8) -> Result<Ladder, LadderError> {
        let [(units, dense), between @ .., _] = table else {
            return Err(LadderError::Length { found: table.len() });
        };
        if levels == 0 {
            return Err(LadderError::Nothing);
        }
        let mut kept = vec![*units];
        let mut rest = between;
        let levels = u64::from(levels);
        for level in 1..levels {
            // Compared times `levels`, so that nothing is rounded.
            let distance = |cost: u64| {
                (u128::from(cost) * u128::from(levels))
                    .abs_diff(u128::from(*dense) * u128::from(levels - level))
            };
            let nearest = (0..rest.len()).min_by_key(|&at| distance(rest[at].1));
            let Some(nearest) = nearest else { break };
            kept.push(rest[nearest].0);
            rest = &rest[nearest + 1..];
        }
        kept.extend(table.last().map(|(units, _)| units));
        Ladder::new(kept)
    }

    /// Units kept at a level, or `None` beyond the last.
    pub fn units_kept(&self, level: Level) -> Option<u32> {
        self.units_kept.get(level.index()).copied()
    }

    /// Units kept at every level, level 0 first.
    pub fn as_slice(&self) -> &[u32] {
        &self.units_kept
    }

    /// Units of the dense module.
    pub fn units(&self) -> u32 {
        self.units_kept[0]
    }

    /// The last level, which removes the module.
    pub fn deepest(&self) -> Level {
        let last = u8::try_from(self.units_kept.len() - 1).expect("a ladder has at most 36 levels");
        Level::new(last).expect("a ladder has at most 36 levels")
    }
}

impl Ladders {
    /// The last level of each kind.
    pub fn deepest(&self) -> PerKind<Level> {
        PerKind::of(|kind| self[kind].deepest())
    }
}

impl TryFrom<Vec<u32>> for Ladder {
    type Error = LadderError;

    fn try_from(units_kept: Vec<u32>) -> Result<Ladder, LadderError> {
        Ladder::new(units_kept)
    }
}

impl From<Ladder> for Vec<u32> {
    fn from(ladder: Ladder) -> Vec<u32> {
        ladder.units_kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn removed(ladder: &Ladder) -> Vec<u32> {
        ladder
            .as_slice()
            .iter()
            .map(|kept| ladder.units() - kept)
            .collect()
    }

    #[test]
    fn even_spacing_gives_the_ladders_of_the_published_scripts() {
        let llama = Ladder::spaced(14336, 10, 32).unwrap();
        let expected = [
            0, 1440, 2880, 4288, 5728, 7168, 8608, 10048, 11456, 12896, 14336,
        ];
        assert_eq!(removed(&llama), expected);
        let qwen = Ladder::spaced(13824, 10, 32).unwrap();
        let expected = [
            0, 1376, 2752, 4160, 5536, 6912, 8288, 9664, 11072, 12448, 13824,
        ];
        assert_eq!(removed(&qwen), expected);
        let qwen_heads = Ladder::spaced(40, 10, 1).unwrap();
        assert_eq!(
            removed(&qwen_heads),
            [0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40]
        );
        let small = Ladder::spaced(1536, 9, 32).unwrap();
        assert_eq!(
            removed(&small),
            [0, 160, 352, 512, 672, 864, 1024, 1184, 1376, 1536]
        );
    }

    #[test]
    fn a_module_with_few_units_gets_one_level_per_unit() {
        let ladder = Ladder::spaced(9, 10, 1).unwrap();
        assert_eq!(ladder.as_slice(), [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
        assert_eq!(ladder.deepest().get(), 9);
        assert_eq!(Ladder::spaced(20, 10, 32).unwrap().as_slice(), [20, 0]);
    }

    #[test]
    fn the_uneven_ladders_of_llama_2_are_accepted() {
        let text = "{\"attention\":[32,28,25,21,18,14,10,6,4,1,0],\
                    \"mlp\":[11008,9920,8928,8032,6496,5280,4256,3104,1824,864,0]}";
        let ladders: Ladders = serde_json::from_str(text).unwrap();
        assert_eq!(ladders.attention.deepest(), ladders.mlp.deepest());
        assert_eq!(serde_json::to_string(&ladders).unwrap(), text);
    }

    #[test]
    fn the_heads_of_llama_2_follow_from_the_time_an_attention_takes() {
        // Microseconds on an A6000, from the authors' table.
        let heads = [32, 28, 25, 21, 18, 14, 10, 6, 4, 1, 0];
        let time = [6310, 5480, 4960, 4450, 3770, 2980, 2210, 1860, 1290, 860, 0];
        let table: Vec<(u32, u64)> = heads.into_iter().zip(time).collect();
        let spaced = |levels| Vec::from(Ladder::spaced_by_cost(&table, levels).unwrap());
        assert_eq!(spaced(10), heads);
        assert_eq!(spaced(5), [32, 25, 18, 10, 4, 0]);
        assert_eq!(spaced(2), [32, 14, 0]);
        let few = Ladder::spaced_by_cost(&[(8, 90), (4, 50), (0, 0)], 10).unwrap();
        assert_eq!(few.as_slice(), [8, 4, 0]);
        assert!(Ladder::spaced_by_cost(&[(8, 90)], 10).is_err());
    }

    #[test]
    fn what_is_no_ladder_is_refused_with_its_reason() {
        assert_eq!(Ladder::new(vec![4]), Err(LadderError::Length { found: 1 }));
        assert_eq!(
            Ladder::new((0..37).rev().collect()),
            Err(LadderError::Length { found: 37 })
        );
        let flat = LadderError::NotFalling {
            level: 2,
            before: 3,
            found: 3,
        };
        assert_eq!(Ladder::new(vec![4, 3, 3, 0]), Err(flat));
        assert_eq!(
            Ladder::new(vec![4, 2]),
            Err(LadderError::LastKeeps { found: 2 })
        );
        assert_eq!(Ladder::spaced(0, 1, 1), Err(LadderError::Nothing));
        assert!(serde_json::from_str::<Ladders>("{\"attention\":[1,0],\"mlp\":[0,1]}").is_err());
        let extra = "{\"attention\":[1,0],\"mlp\":[1,0],\"norm\":[1,0]}";
        assert!(serde_json::from_str::<Ladders>(extra).is_err());
    }
}
