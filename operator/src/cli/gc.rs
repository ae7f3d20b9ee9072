//! `darwinlm gc`: what runs share and no run uses any more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use darwinlm_report::grouped;
use darwinlm_store::{Listed, Store, newest};
use darwinlm_task::ExitCode;
use darwinlm_task::paths::MANIFEST;

use super::{Failure, store_url};

pub(super) const EXAMPLES: &str = "\
Examples:
  darwinlm gc --store s3://bucket/prefix                            what could go, and why
  darwinlm gc --store s3://bucket/prefix --older-than 30d --delete  removes it

Looks at models/, tokens/, databases/, teachers/ and latency/, which runs share, and never at runs/. What a
run below runs/ uses stays, however old. So does what was written to within --older-than: a database
that is being built is, every few seconds. Credentials of a bucket come from the environment: AWS_…,
GOOGLE_…, AZURE_….";

/// What runs share.
const SHARED: [&str; 5] = ["models", "tokens", "databases", "teachers", "latency"];

/// The least age that is accepted: six times as long as a claim may stand still before it is retaken.
const LEAST_AGE_SECONDS: i64 = 600;

#[derive(Debug, Args)]
pub(super) struct Gc {
    /// Folder or URL of the store
    #[arg(long, env = "DARWINLM_STORE", value_name = "DIR|URL")]
    store: String,
    /// Keep what was written to within this time: a number and s, m, h or d; at least 10m
    #[arg(long, default_value = "7d", value_parser = age, value_name = "AGE")]
    older_than: i64,
    /// Remove what is listed; without this nothing is changed
    #[arg(long)]
    delete: bool,
}

/// A shared folder, or a shared file of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shared {
    key: String,
    files: u64,
    bytes: u64,
    newest: i64,
}

/// What is in the store, by whether it may go.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sorted {
    removable: Vec<Shared>,
    used: usize,
    young: usize,
}

/// Lists what no run uses, and removes it where that was asked for.
pub(super) async fn gc(arguments: Gc) -> Result<(), Failure> {
    let store = Store::open_existing(&store_url(&arguments.store)?)?;
    let before = now() - arguments.older_than;
    let Sorted {
        removable,
        used,
        young,
    } = sort(shared(&store).await?, &uses(&store).await?, before);
    println!(
        "{:<84}{:>8}{:>18}{:>10}",
        "KEY", "FILES", "BYTES", "DAYS OLD"
    );
    for found in &removable {
        let days = (now() - found.newest) / 86_400;
        let bytes = grouped(found.bytes);
        println!("{:<84}{:>8}{bytes:>18}{days:>10}", found.key, found.files);
    }
    let mut removed = 0;
    if arguments.delete {
        for found in &removable {
            removed += u64::from(remove(&store, found, before).await?);
        }
    }
    let bytes = grouped(removable.iter().map(|found| found.bytes).sum());
    let kept = format!("kept: {used} that runs use, {young} that are too young");
    match (arguments.delete, removable.len()) {
        (true, _) => println!("{removed} removed, {bytes} bytes; {kept}"),
        (false, 0) => println!("nothing to remove; {kept}"),
        (false, some) => println!("{some} to remove, {bytes} bytes, with --delete; {kept}"),
    }
    Ok(())
}

/// Everything that runs share, by key.
async fn shared(store: &Store) -> Result<Vec<Shared>, Failure> {
    let mut found = Vec::new();
    for prefix in SHARED {
        found.extend(grouped_by_key(&store.list_files(prefix).await?));
    }
    Ok(found)
}

/// Files by the folder they lie in, `<prefix>/<digest>`; a file that lies there is one of its own.
fn grouped_by_key(files: &[Listed]) -> Vec<Shared> {
    let mut folders: BTreeMap<String, Vec<Listed>> = BTreeMap::new();
    for file in files {
        let key: Vec<_> = file.key.splitn(3, '/').take(2).collect();
        folders.entry(key.join("/")).or_default().push(file.clone());
    }
    let folders = folders.into_iter().map(|(key, files)| Shared {
        key,
        files: files.len() as u64,
        bytes: files.iter().map(|file| file.bytes).sum(),
        newest: newest(&files),
    });
    folders.collect()
}

/// The keys that runs use: each has marked them before it looked for them.
///
/// # Errors
/// When a run has no mark: it was made by a version that left none, so that nobody knows.
async fn uses(store: &Store) -> Result<BTreeSet<String>, Failure> {
    let (mut runs, mut marked, mut used) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for key in store.list("runs").await? {
        let Some((run, rest)) = key
            .strip_prefix("runs/")
            .and_then(|key| key.split_once('/'))
        else {
            continue;
        };
        if let Some(mark) = rest.strip_prefix("uses/") {
            marked.insert(run.to_owned());
            used.insert(mark.to_owned());
        } else if rest == "plan.json" {
            runs.insert(run.to_owned());
        }
    }
    if let Some(run) = runs.difference(&marked).next() {
        let message = format!(
            "the run {run} in {} does not say what it uses: it was made by an earlier version. \
             Nothing is removed until its prefix is, or until it has run again",
            store.url()
        );
        return Err(Failure::new(ExitCode::BadData, message));
    }
    Ok(used)
}

fn sort(found: Vec<Shared>, used: &BTreeSet<String>, before: i64) -> Sorted {
    let mut sorted = Sorted::default();
    for found in found {
        if used.contains(&found.key) {
            sorted.used += 1;
        } else if found.newest > before {
            sorted.young += 1;
        } else {
            sorted.removable.push(found);
        }
    }
    sorted
}

/// Removes a folder, its manifest first: from then on it is not there for anybody. A run that has begun
/// meanwhile marks what it uses before it looks for it, so that whoever still found the manifest is
/// seen now, and gets it back. False when it stays.
async fn remove(store: &Store, found: &Shared, before: i64) -> Result<bool, Failure> {
    let own = store.file(&found.key).await?;
    let (files, manifest) = match own {
        Some(file) => (vec![file], found.key.clone()),
        None => (
            store.list_files(&found.key).await?,
            format!("{}/{MANIFEST}", found.key),
        ),
    };
    if newest(&files) > before {
        println!("{} was written to meanwhile and stays", found.key);
        return Ok(false);
    }
    let bytes = store.get_if_exists(&manifest).await?;
    store.remove(&manifest).await?;
    if uses(store).await?.contains(&found.key) {
        if let Some(bytes) = bytes {
            store.put_create(&manifest, bytes).await?;
        }
        println!(
            "{} is used by a run that has begun meanwhile and stays",
            found.key
        );
        return Ok(false);
    }
    if manifest != found.key {
        store.remove_below(&found.key, |_| false, |_, _| ()).await?;
    }
    Ok(true)
}

/// An age in seconds.
fn age(text: &str) -> Result<i64, String> {
    let accepted = "a number and s, m, h or d is accepted, at least 10m, such as 7d";
    let unit = text.chars().next_back().unwrap_or_default();
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(accepted.to_owned()),
    };
    let number = text.trim_end_matches(unit).parse::<u32>();
    let age = number.ok().map(|number| i64::from(number) * seconds);
    age.filter(|age| *age >= LEAST_AGE_SECONDS)
        .ok_or_else(|| accepted.to_owned())
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(key: &str, modified_unix_seconds: i64) -> Listed {
        Listed {
            key: key.to_owned(),
            bytes: 10,
            version: None,
            modified_unix_seconds,
        }
    }

    #[test]
    fn a_folder_is_as_young_as_its_youngest_file() {
        let files = [
            file("databases/a/manifest.json", 50),
            file("databases/a/parts/x.json", 90),
            file("databases/b/claims/blocks/1.beat", 10),
            file("latency/c.json", 20),
        ];
        let found = grouped_by_key(&files);
        let keys: Vec<_> = found
            .iter()
            .map(|one| (one.key.as_str(), one.newest))
            .collect();
        assert_eq!(
            keys,
            [
                ("databases/a", 90),
                ("databases/b", 10),
                ("latency/c.json", 20)
            ]
        );
        assert_eq!((found[0].files, found[0].bytes), (2, 20));
        let used = BTreeSet::from(["latency/c.json".to_owned()]);
        let sorted = sort(found, &used, 60);
        assert_eq!((sorted.used, sorted.young), (1, 1));
        assert_eq!(sorted.removable[0].key, "databases/b");
    }

    #[test]
    fn an_age_has_a_unit_and_is_long_enough() {
        assert_eq!(
            (age("7d"), age("600s"), age("2h")),
            (Ok(604_800), Ok(600), Ok(7200))
        );
        for wrong in ["", "7", "d", "9m", "-1d", "1w", "1.5d"] {
            assert!(age(wrong).is_err(), "{wrong:?}");
        }
    }

    #[tokio::test]
    async fn what_a_run_marks_meanwhile_gets_its_manifest_back() {
        let store = Store::open("memory:///").unwrap();
        for key in [
            "models/a/manifest.json",
            "models/a/weights",
            "runs/n.r/uses/models/a",
        ] {
            store.put_create(key, "x".into()).await.unwrap();
        }
        let found = shared(&store).await.unwrap();
        // As seen by somebody who had looked at the runs before the mark.
        assert!(!remove(&store, &found[0], i64::MAX).await.unwrap());
        assert_eq!(
            store.list("models").await.unwrap(),
            ["models/a/manifest.json", "models/a/weights"]
        );
        store.remove("runs/n.r/uses/models/a").await.unwrap();
        assert!(
            !remove(&store, &found[0], i64::MIN).await.unwrap(),
            "it is young"
        );
        assert!(remove(&store, &found[0], i64::MAX).await.unwrap());
        assert!(store.list("models").await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_run_that_does_not_say_what_it_uses_stops_it() {
        let store = Store::open("memory:///").unwrap();
        store
            .put_create("runs/n.old/plan.json", "{}".into())
            .await
            .unwrap();
        let said = uses(&store).await.unwrap_err().message;
        assert!(said.contains("n.old"), "{said}");
    }
}
