//! The prunable modules of a model and the order in which everything lists them.

use std::fmt;
use std::ops::{Index, IndexMut};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What is pruned inside a block: the inputs of `o_proj` or those of `down_proj`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModuleKind {
    /// The attention module; its units are query heads or key-value groups.
    Attention,
    /// The mlp module; its units are intermediate columns.
    Mlp,
}

impl ModuleKind {
    /// Both kinds in the order in which they follow each other inside a block.
    pub const ALL: [ModuleKind; 2] = [ModuleKind::Attention, ModuleKind::Mlp];
}

impl fmt::Display for ModuleKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            ModuleKind::Attention => "attention",
            ModuleKind::Mlp => "mlp",
        })
    }
}

/// One prunable module, written `blocks.0.attention` or `blocks.0.mlp`.
///
/// Modules are ordered by block, attention before mlp; [`Module::index`] is the place in that
/// order. Ties anywhere in this crate are broken by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Module {
    /// The transformer block, counted from 0.
    pub block: u32,
    /// Which of the block's two modules.
    pub kind: ModuleKind,
}

impl Module {
    /// The place in module order: `2 * block`, plus one for the mlp.
    pub fn index(self) -> usize {
        let within = match self.kind {
            ModuleKind::Attention => 0,
            ModuleKind::Mlp => 1,
        };
        2 * self.block as usize + within
    }

    /// The module at a place in module order.
    pub fn at(index: usize) -> Module {
        let block = u32::try_from(index / 2).expect("a model has fewer than 2^32 blocks");
        Module {
            block,
            kind: ModuleKind::ALL[index % 2],
        }
    }

    /// All modules of a model with so many blocks, in module order.
    pub fn all(blocks: u32) -> impl Iterator<Item = Module> {
        (0..blocks).flat_map(|block| ModuleKind::ALL.map(|kind| Module { block, kind }))
    }
}

impl fmt::Display for Module {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "blocks.{}.{}", self.block, self.kind)
    }
}

/// A text that names no module.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("module {found:?} is not written like blocks.0.attention or blocks.0.mlp")]
pub struct ModuleError {
    found: String,
}

impl FromStr for Module {
    type Err = ModuleError;

    fn from_str(text: &str) -> Result<Module, ModuleError> {
        let parsed = text.strip_prefix("blocks.").and_then(|rest| {
            let (block, kind) = rest.split_once('.')?;
            let kind = ModuleKind::ALL
                .into_iter()
                .find(|known| known.to_string() == kind)?;
            Some(Module {
                block: block.parse().ok()?,
                kind,
            })
        });
        // Written back it must be the same text: "+1" and "01" also parse as numbers.
        parsed
            .filter(|module| module.to_string() == text)
            .ok_or_else(|| ModuleError {
                found: text.to_owned(),
            })
    }
}

impl TryFrom<String> for Module {
    type Error = ModuleError;

    fn try_from(text: String) -> Result<Module, ModuleError> {
        text.parse()
    }
}

impl From<Module> for String {
    fn from(module: Module) -> String {
        module.to_string()
    }
}

/// One thing for each kind of module, indexed by [`ModuleKind`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PerKind<T> {
    /// The attention modules' share.
    pub attention: T,
    /// The mlp modules' share.
    pub mlp: T,
}

impl<T> PerKind<T> {
    /// Makes one thing for each kind.
    pub fn of(mut make: impl FnMut(ModuleKind) -> T) -> PerKind<T> {
        PerKind {
            attention: make(ModuleKind::Attention),
            mlp: make(ModuleKind::Mlp),
        }
    }
}

impl<T> Index<ModuleKind> for PerKind<T> {
    type Output = T;

    fn index(&self, kind: ModuleKind) -> &T {
        match kind {
            ModuleKind::Attention => &self.attention,
            ModuleKind::Mlp => &self.mlp,
        }
    }
}

impl<T> IndexMut<ModuleKind> for PerKind<T> {
    fn index_mut(&mut self, kind: ModuleKind) -> &mut T {
        match kind {
            ModuleKind::Attention => &mut self.attention,
            ModuleKind::Mlp => &mut self.mlp,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_ordered_by_block_with_attention_first() {
        let all: Vec<Module> = Module::all(3).collect();
        let mut sorted = all.clone();
        sorted.sort();
        assert_eq!(all, sorted);
        for (index, module) in all.into_iter().enumerate() {
            assert_eq!(module.index(), index);
            assert_eq!(Module::at(index), module);
        }
    }

    #[test]
    fn a_module_reads_back_from_its_text() {
        for module in Module::all(12) {
            assert_eq!(module.to_string().parse::<Module>().unwrap(), module);
        }
        assert_eq!(
            Module {
                block: 10,
                kind: ModuleKind::Mlp
            }
            .to_string(),
            "blocks.10.mlp"
        );
    }

    #[test]
    fn a_text_that_is_not_the_written_form_is_refused() {
        for text in [
            "",
            "blocks.0",
            "blocks.00.mlp",
            "blocks.+1.mlp",
            "blocks.0.MLP",
            "0.mlp",
        ] {
            assert!(text.parse::<Module>().is_err(), "{text}");
        }
    }
}
