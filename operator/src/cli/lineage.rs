//! `darwinlm lineage`: from the start of a search to its survivor, one line for each generation that
//! changed something.

use clap::Args;
use darwinlm_report::{Facts, grouped};
use darwinlm_search::{Genome, ModuleKind};
use darwinlm_store::Store;

use super::get::runs;
use super::report::{failure, only};
use super::{Failure, store_url};

pub(super) const EXAMPLES: &str = "\
Examples:
  darwinlm lineage ./store                   of the only run there is
  darwinlm lineage ./store --run local.tiny
  darwinlm lineage ./store --all             also generations whose parent survived

A change is a module and its levels before and after: attention 3: 2 → 4 is block 3's attention, two levels thinner.";

#[derive(Debug, Args)]
pub(super) struct Lineage {
    /// Folder or URL of the store
    #[arg(value_name = "DIR|URL")]
    store: String,
    /// The run, as <namespace>.<name> or its name alone; needed where the store holds several
    #[arg(long)]
    run: Option<String>,
    /// Also generations that left everything as it was
    #[arg(long)]
    all: bool,
}

/// Prints the lines.
pub(super) async fn lineage(arguments: Lineage) -> Result<(), Failure> {
    let url = store_url(&arguments.store)?;
    let store = Store::open_existing(&url)?;
    let run = only(&url, runs(&store, arguments.run.as_deref()).await?)?;
    let facts = Facts::read(&store, &run).await.map_err(failure)?;
    print!("{}", table(&facts, arguments.all));
    Ok(())
}

fn table(facts: &Facts, all: bool) -> String {
    let row = |generation: &str, fitness: &str, kl: &str, parameters: &str, changes: &str| {
        format!("{generation:>10}{fitness:>12}{kl:>12}{parameters:>16}  {changes}\n")
    };
    let mut lines = row("GENERATION", "FITNESS", "KL", "PARAMETERS", "CHANGES");
    let kl = |born: u32| {
        let known = facts.validation.get(&born);
        known.map_or_else(|| "-".to_owned(), |(kl, _)| format!("{kl:.4}"))
    };
    let start = grouped(facts.problem.parameters(&facts.problem.start));
    lines += &row("0", "-", &kl(0), &start, "the start");
    for generation in &facts.generations {
        let survivor = &generation.survivor;
        let changes = changes(&generation.parent, &survivor.genome);
        if changes.is_empty() && !all {
            continue;
        }
        let changes = match changes.as_slice() {
            [] => "the parent survived".to_owned(),
            changes => changes.join(", "),
        };
        let fitness = survivor.fitness;
        lines += &row(
            &generation.generation.to_string(),
            &fitness.map_or_else(|| "-".to_owned(), |fitness| format!("{:.4}", fitness.get())),
            &kl(survivor.born_in_generation),
            &grouped(survivor.parameters),
            &changes,
        );
    }
    lines
}

/// Every module whose level differs, with both.
pub(super) fn changes(from: &Genome, to: &Genome) -> Vec<String> {
    let both = from.modules().zip(to.modules());
    both.filter(|((_, was), (_, is))| was != is)
        .map(|((module, was), (_, is))| {
            let kind = match module.kind {
                ModuleKind::Attention => "attention",
                ModuleKind::Mlp => "MLP",
            };
            format!("{kind} {}: {} → {}", module.block, was.get(), is.get())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use darwinlm_search::{Level, Module};

    use super::*;

    #[test]
    fn changes_name_the_module_and_both_levels() {
        let level = |level| Level::new(level).unwrap();
        let from = Genome::uniform(2, level(2));
        let mut to = from.clone();
        let module = |block, kind| Module { block, kind };
        to.set(module(1, ModuleKind::Attention), level(4));
        to.set(module(0, ModuleKind::Mlp), level(0));
        let mut told = changes(&from, &to);
        told.sort();
        assert_eq!(told, ["MLP 0: 2 → 0", "attention 1: 2 → 4"]);
        assert!(changes(&from, &from).is_empty());
    }
}
