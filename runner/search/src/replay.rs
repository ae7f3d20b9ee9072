//! Checking a ledger: the hash chain, then everything that the seed and the outcomes decide.

mod difference;

pub use self::difference::{Part, ReplayError};
use self::difference::{same, same_list};
use crate::digest::Digest;
use crate::ledger::{Entry, GenerationEntry, Genesis};
use crate::search::Search;
use crate::survivor::Survivor;

/// A ledger that was replayed.
#[derive(Debug, Clone)]
pub struct Replay {
    /// The search after the newest entry.
    pub search: Search,
    /// The survivor of every generation, the start first.
    pub survivors: Vec<Survivor>,
}

/// Replays a whole ledger, entry 0 first, from the problem that entry 0 holds.
///
/// Whoever knows the newest digest from elsewhere compares it with that of [`Replay::search`]: a
/// ledger that was written anew from some generation on replays as well.
pub fn replay(entries: &[Entry]) -> Result<Replay, ReplayError> {
    let problem = match entries.first() {
        None => return Err(ReplayError::Empty),
        Some(Entry::Genesis(genesis)) => genesis.problem.clone(),
        Some(other) => return Err(misplaced(0, other)),
    };
    let outcomes = |source| ReplayError::Outcomes {
        generation: 0,
        source: Box::new(source),
    };
    let mut search = Search::new(problem).map_err(outcomes)?;
    let mut survivors = vec![search.survivor().clone()];
    advance(&mut search, entries, |survivor| {
        survivors.push(survivor.clone())
    })?;
    Ok(Replay { search, survivors })
}

/// Checks the hash chain alone: numbers and digests. Returns the newest digest.
pub fn verify_chain(entries: &[Entry]) -> Result<Digest, ReplayError> {
    let mut newest = None;
    for (number, entry) in (0_u32..).zip(entries) {
        match (entry, newest) {
            (Entry::Genesis(_), None) => {}
            (Entry::Generation(found), Some(expected)) if found.generation == number => {
                same(number, Part::Previous, &expected, &found.previous)?;
            }
            _ => return Err(misplaced(number, entry)),
        }
        newest = Some(entry.digest());
    }
    newest.ok_or(ReplayError::Empty)
}

/// Takes a fresh search through its ledger; no entries at all leave it as it is.
pub(crate) fn advance(
    search: &mut Search,
    entries: &[Entry],
    mut survived: impl FnMut(&Survivor),
) -> Result<(), ReplayError> {
    for (number, entry) in (0_u32..).zip(entries) {
        match entry {
            Entry::Genesis(found) if number == 0 => check_genesis(search, found)?,
            Entry::Generation(found) if number > 0 && found.generation == number => {
                advance_generation(search, found)?;
                survived(search.survivor());
            }
            _ => return Err(misplaced(number, entry)),
        }
    }
    Ok(())
}

fn check_genesis(search: &Search, found: &Genesis) -> Result<(), ReplayError> {
    let Genesis { version, problem } = found;
    let version = (Genesis::VERSION, *version);
    if version.0 != version.1 {
        let described = |version| format!("of version {version}");
        return same(
            0,
            Part::Genesis,
            &described(version.0),
            &described(version.1),
        );
    }
    if problem != search.problem() {
        let found = Entry::Genesis(Box::new(found.clone())).digest();
        return same(0, Part::Genesis, &search.genesis().digest(), &found);
    }
    Ok(())
}

/// Takes a search through the entry of its open generation. After an error it may be anywhere.
pub(crate) fn advance_generation(
    search: &mut Search,
    found: &GenerationEntry,
) -> Result<(), ReplayError> {
    let generation = found.generation;
    let Some(round) = search.round() else {
        return Err(ReplayError::TooMany { generation });
    };
    same(generation, Part::Generation, &round.generation, &generation)?;
    same(
        generation,
        Part::Previous,
        &search.digest(),
        &found.previous,
    )?;
    same(generation, Part::Parent, &round.parent, &found.parent)?;
    same_list(
        generation,
        Part::Offspring,
        &round.offspring,
        &found.offspring,
    )?;
    let survivor = retell(search, found)?;
    if survivor != found.survivor {
        let (expected, found) = (format!("{survivor:?}"), format!("{:?}", found.survivor));
        return Err(ReplayError::Differs {
            generation,
            part: Part::Survivor,
            expected,
            found,
        });
    }
    Ok(())
}

/// Tells a generation's recorded outcomes step by step and returns who survives.
fn retell(search: &mut Search, found: &GenerationEntry) -> Result<Survivor, ReplayError> {
    let generation = found.generation;
    let steps = search.problem().steps.steps().len();
    let mut outcomes = found
        .trials()
        .map(|(id, _, outcome)| (id, outcome))
        .peekable();
    for step in 0..steps {
        let of_step = found.steps.get(step);
        let Some(round) = search
            .round()
            .filter(|round| round.generation == generation)
        else {
            break;
        };
        let opened = round.steps[step].clone();
        let minibatches = of_step
            .map(|step| step.minibatches.to_string())
            .unwrap_or_default();
        same(
            generation,
            Part::Minibatches,
            &opened.minibatches.digest().to_string(),
            &minibatches,
        )?;
        let expected: Vec<u32> = opened.outcomes.into_keys().collect();
        let recorded = of_step
            .map(|step| step.trials.as_slice())
            .unwrap_or_default();
        let slots: Vec<u32> = recorded.iter().map(|trial| trial.slot).collect();
        same_list(generation, Part::Trials, &expected, &slots)?;
        while let Some((id, outcome)) = outcomes.next_if(|(id, _)| id.step as usize == step) {
            let told = search.tell(id, outcome);
            told.map_err(|source| ReplayError::Outcomes {
                generation,
                source: Box::new(source),
            })?;
        }
    }
    same(
        generation,
        Part::Trials,
        &format!("{steps} steps"),
        &format!("{} steps", found.steps.len()),
    )?;
    Ok(search.survivor().clone())
}

fn misplaced(number: u32, entry: &Entry) -> ReplayError {
    let kind = match entry {
        Entry::Genesis(_) => "problem".to_owned(),
        Entry::Generation(found) => format!("generation {}", found.generation),
    };
    let expected = if number == 0 {
        "problem".to_owned()
    } else {
        format!("generation {number}")
    };
    ReplayError::Differs {
        generation: number,
        part: Part::Generation,
        expected,
        found: kind,
    }
}
