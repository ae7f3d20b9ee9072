//! How offspring fared, by what their mutation changed.

use std::collections::BTreeMap;

use darwinlm_search::{GenerationEntry, Genome, ModuleKind};

/// What a mutation did to a parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mutation {
    /// Which modules it touched.
    pub changed: Changed,
    /// Levels that went from some modules to others.
    pub levels: u32,
}

/// Which modules a mutation touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Changed {
    /// Attention modules alone.
    Attention,
    /// MLP modules alone.
    Mlp,
    /// Both.
    Both,
}

impl Changed {
    /// As the page says it.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Attention => "attention",
            Self::Mlp => "MLP",
            Self::Both => "attention and MLP",
        }
    }
}

impl Mutation {
    /// What is different in a child; `None` where nothing is.
    pub fn of(parent: &Genome, child: &Genome) -> Option<Self> {
        let (mut attention, mut mlp) = (false, false);
        let (mut deeper, mut shallower) = (0, 0);
        for ((module, was), (_, is)) in parent.modules().zip(child.modules()) {
            if was == is {
                continue;
            }
            match module.kind {
                ModuleKind::Attention => attention = true,
                ModuleKind::Mlp => mlp = true,
            }
            deeper += u32::from(is.get().saturating_sub(was.get()));
            shallower += u32::from(was.get().saturating_sub(is.get()));
        }
        let changed = match (attention, mlp) {
            (true, true) => Changed::Both,
            (true, false) => Changed::Attention,
            (false, true) => Changed::Mlp,
            (false, false) => return None,
        };
        let levels = deeper.max(shallower);
        Some(Self { changed, levels })
    }
}

/// How offspring fared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fared {
    /// Bred.
    pub bred: u32,
    /// Became the next parent.
    pub survived: u32,
}

/// Sums over all offspring of all generations.
pub(super) fn sums(generations: &[GenerationEntry]) -> BTreeMap<Mutation, Fared> {
    let mut sums: BTreeMap<Mutation, Fared> = BTreeMap::new();
    for generation in generations {
        for child in &generation.offspring {
            if let Some(mutation) = Mutation::of(&generation.parent, child) {
                let fared = sums.entry(mutation).or_default();
                fared.bred += 1;
                fared.survived += u32::from(*child == generation.survivor.genome);
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use darwinlm_search::{Level, Module};

    use super::*;

    #[test]
    fn a_mutation_is_told_by_the_modules_and_by_the_levels_that_moved() {
        let level = |level| Level::new(level).unwrap();
        let parent = Genome::uniform(3, level(2));
        let child = |changes: &[(u32, ModuleKind, u8)]| {
            let mut child = parent.clone();
            for &(block, kind, to) in changes {
                child.set(Module { block, kind }, level(to));
            }
            Mutation::of(&parent, &child).map(|one| (one.changed, one.levels))
        };
        use ModuleKind::{Attention, Mlp};
        assert_eq!(child(&[]), None);
        let swapped = [(0, Attention, 3), (1, Attention, 1)];
        assert_eq!(child(&swapped), Some((Changed::Attention, 1)));
        let twice = [(0, Mlp, 4), (1, Mlp, 1), (2, Mlp, 1)];
        assert_eq!(child(&twice), Some((Changed::Mlp, 2)));
        let across = [(0, Mlp, 3), (1, Attention, 1)];
        assert_eq!(child(&across), Some((Changed::Both, 1)));
    }
}
