//! One level per module.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::level::{Level, LevelError};
use crate::module::{Module, ModuleKind, PerKind};

/// One level per module, in module order.
///
/// Serialised as `{"attention": "5553…", "mlp": "4565…"}`, one base-36 character per block.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "PerKind<String>", into = "PerKind<String>")]
pub struct Genome {
    levels: Vec<Level>,
}

/// Why levels make no genome of a model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GenomeError {
    /// The kinds differ in length, or both are empty.
    #[error("a genome has {attention} attention and {mlp} mlp levels; one of each per block")]
    Uneven {
        /// Levels of attention modules.
        attention: usize,
        /// Levels of mlp modules.
        mlp: usize,
    },
    /// A character is no level.
    #[error("a genome's {kind} levels hold something else")]
    Level {
        /// The kind of module.
        kind: ModuleKind,
        /// What is wrong with the character.
        #[source]
        source: LevelError,
    },
    /// The genome is of another model.
    #[error("a genome has {found} blocks, the model {expected}")]
    Blocks {
        /// Blocks of the genome.
        found: u32,
        /// Blocks of the model.
        expected: u32,
    },
    /// A level lies beyond the ladder.
    #[error("{module} is at level {found}; its ladder ends at {deepest}")]
    TooDeep {
        /// The module.
        module: Module,
        /// Its level.
        found: Level,
        /// The last level of its ladder.
        deepest: Level,
    },
}

impl Genome {
    /// Every module at the same level.
    pub fn uniform(blocks: u32, level: Level) -> Genome {
        Genome {
            levels: vec![level; 2 * blocks as usize],
        }
    }

    /// A level for each module of a model with so many blocks.
    pub fn of(blocks: u32, mut level: impl FnMut(Module) -> Level) -> Genome {
        Genome {
            levels: Module::all(blocks).map(&mut level).collect(),
        }
    }

    /// Checks that the genome is one of a model: its blocks, its ladders.
    pub fn fit(&self, blocks: u32, deepest: PerKind<Level>) -> Result<(), GenomeError> {
        if self.blocks() != blocks {
            return Err(GenomeError::Blocks {
                found: self.blocks(),
                expected: blocks,
            });
        }
        for (module, found) in self.modules() {
            let deepest = deepest[module.kind];
            if found > deepest {
                return Err(GenomeError::TooDeep {
                    module,
                    found,
                    deepest,
                });
            }
        }
        Ok(())
    }

    /// Blocks of the model.
    pub fn blocks(&self) -> u32 {
        u32::try_from(self.levels.len() / 2).expect("a model has fewer than 2^32 blocks")
    }

    /// The level of a module.
    ///
    /// # Panics
    ///
    /// If the model has no such block.
    pub fn level(&self, module: Module) -> Level {
        self.levels[module.index()]
    }

    /// Every module with its level, in module order.
    pub fn modules(&self) -> impl Iterator<Item = (Module, Level)> {
        self.levels
            .iter()
            .enumerate()
            .map(|(index, &level)| (Module::at(index), level))
    }

    /// Sum of the levels of one kind.
    pub fn level_sum(&self, kind: ModuleKind) -> u64 {
        let of_kind = self.modules().filter(|(module, _)| module.kind == kind);
        of_kind.map(|(_, level)| u64::from(level.get())).sum()
    }

    /// Puts a module at a level.
    ///
    /// # Panics
    ///
    /// If the model has no such block.
    pub fn set(&mut self, module: Module, level: Level) {
        self.levels[module.index()] = level;
    }

    fn text(&self, kind: ModuleKind) -> String {
        let of_kind = self.modules().filter(|(module, _)| module.kind == kind);
        of_kind.map(|(_, level)| level.character()).collect()
    }
}

impl fmt::Display for Genome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [attention, mlp] = ModuleKind::ALL.map(|kind| self.text(kind));
        write!(out, "{{attention: {attention:?}, mlp: {mlp:?}}}")
    }
}

impl fmt::Debug for Genome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl From<Genome> for PerKind<String> {
    fn from(genome: Genome) -> PerKind<String> {
        PerKind::of(|kind| genome.text(kind))
    }
}

impl TryFrom<PerKind<String>> for Genome {
    type Error = GenomeError;

    fn try_from(text: PerKind<String>) -> Result<Genome, GenomeError> {
        let read = |kind: ModuleKind| {
            let levels = text[kind].chars().map(Level::from_character);
            let levels: Result<Vec<Level>, LevelError> = levels.collect();
            levels.map_err(|source| GenomeError::Level { kind, source })
        };
        let (attention, mlp) = (read(ModuleKind::Attention)?, read(ModuleKind::Mlp)?);
        if attention.len() != mlp.len() || mlp.is_empty() {
            return Err(GenomeError::Uneven {
                attention: attention.len(),
                mlp: mlp.len(),
            });
        }
        let pairs = attention.into_iter().zip(mlp);
        Ok(Genome {
            levels: pairs
                .flat_map(|(attention, mlp)| [attention, mlp])
                .collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Genome, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn a_genome_reads_back_from_one_character_per_block() {
        let text = "{\"attention\":\"05a\",\"mlp\":\"z19\"}";
        let genome = read(text).unwrap();
        assert_eq!(serde_json::to_string(&genome).unwrap(), text);
        assert_eq!(genome.to_string(), "{attention: \"05a\", mlp: \"z19\"}");
        assert_eq!(
            genome
                .level(Module {
                    block: 2,
                    kind: ModuleKind::Attention
                })
                .get(),
            10
        );
        assert_eq!(
            genome
                .level(Module {
                    block: 0,
                    kind: ModuleKind::Mlp
                })
                .get(),
            35
        );
        assert_eq!(genome.level_sum(ModuleKind::Attention), 15);
    }

    #[test]
    fn what_is_no_genome_is_refused() {
        for text in [
            "{\"attention\":\"5\",\"mlp\":\"55\"}",
            "{\"attention\":\"\",\"mlp\":\"\"}",
            "{\"attention\":\"A\",\"mlp\":\"5\"}",
            "{\"attention\":\"5\",\"mlp\":\"5\",\"x\":\"5\"}",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_genome_beyond_its_ladders_names_the_module() {
        let deepest = PerKind {
            attention: Level::new(9).unwrap(),
            mlp: Level::new(3).unwrap(),
        };
        let genome = read("{\"attention\":\"59\",\"mlp\":\"34\"}").unwrap();
        let error = genome.fit(2, deepest).unwrap_err();
        assert_eq!(
            error.to_string(),
            "blocks.1.mlp is at level 4; its ladder ends at 3"
        );
        assert!(matches!(
            genome.fit(3, deepest),
            Err(GenomeError::Blocks { .. })
        ));
    }
}
