//! Where the parameters went: each kind of module before and after, and its levels block by block.

use darwinlm_report::grouped;
use darwinlm_search::{Genome, Level, ModuleKind, PerKind, Problem};

/// The table, one line per kind of module under a line of headings.
pub fn table(problem: &Problem, genome: &Genome) -> String {
    let blocks = u64::from(problem.shape.blocks);
    let deepest = problem.ladders.deepest();
    let letters = PerKind::<String>::from(genome.clone());
    let mut table = format!(
        "{:<12}{:>16}{:>16}{:>10}  level of each block: 0 dense … {} removed\n",
        "parameters",
        "dense",
        "left",
        "of dense",
        last(deepest)
    );
    for kind in ModuleKind::ALL {
        let of_units = |units| problem.shape.parameters_at(kind, units);
        let dense = blocks * of_units(problem.shape.units(kind));
        let ladder = problem.ladders[kind].as_slice();
        let own = genome.modules().filter(|(module, _)| module.kind == kind);
        let left = own.map(|(_, level)| of_units(ladder[level.index()])).sum();
        table += &line(&kind.to_string(), dense, left, &letters[kind]);
    }
    let rest = problem.shape.fixed_parameters();
    table
        + &line(
            "the rest",
            rest,
            rest,
            "embeddings, norms and output: never pruned",
        )
}

fn line(name: &str, dense: u64, left: u64, said: &str) -> String {
    let percent = (left * 100).checked_div(dense).unwrap_or(100);
    format!(
        "{name:<12}{:>16}{:>16}{percent:>8} %  {said}\n",
        grouped(dense),
        grouped(left)
    )
}

/// The deepest level, or both where the kinds differ.
fn last(deepest: PerKind<Level>) -> String {
    let PerKind { attention, mlp } = deepest;
    if attention == mlp {
        attention.to_string()
    } else {
        format!("{attention} (attention) or {mlp} (mlp)")
    }
}
