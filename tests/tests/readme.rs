//! Every command of the README and of the first run is run by a test: right here, or by the story that is named here.

#[path = "../../operator/tests/fixtures/markdown.rs"]
mod markdown;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use darwinlm_tests::local::{Local, finish};
use darwinlm_tests::programs::{fetched, release_folder, repository};
use markdown::{commands, read};
use tempfile::TempDir;

/// The pages that a new user follows.
const PAGES: [&str; 2] = ["README.md", "operator/guides/first-run.md"];

/// Who runs a command.
enum By {
    /// `what_is_asked_of_a_finished_run_is_answered`, as it is written.
    Here,
    /// `the_demo_begins_is_stopped_and_goes_on`.
    TheDemo,
    /// A script or a file of stories, in which these words stand.
    Suite(&'static str, &'static [&'static str]),
    /// Nobody, for this reason.
    Nobody(&'static str),
}

/// Commands by how they begin; of several, the longest beginning counts.
const COMMANDS: &[(&str, By)] = &[
    ("export PATH=", By::Here),
    ("darwinlm --help", By::Here),
    ("darwinlm run ", By::Here),
    ("darwinlm get ", By::Here),
    ("darwinlm report ", By::Here),
    ("darwinlm lineage ", By::Here),
    ("darwinlm diff", By::Here),
    ("darwinlm verify ", By::Here),
    ("darwinlm plan ", By::Here),
    ("darwinlm export ", By::Here),
    (
        "darwinlm explain ",
        By::Suite("tests/tests/plugin.rs", &["&[\"explain\", \"tiny\"]"]),
    ),
    (
        "darwinlm watch ",
        By::Suite("tests/tests/plugin.rs", &["&[\"watch\", \"tiny\"]"]),
    ),
    (
        "darwinlm watch --store ",
        By::Suite(
            "tests/tests/terminal.rs",
            &["\"darwinlm watch --store ./store; echo"],
        ),
    ),
    (
        "source <(darwinlm completion",
        By::Suite(
            "tests/tests/terminal.rs",
            &["source <(darwinlm completion bash)"],
        ),
    ),
    (
        "darwinlm logs ",
        By::Suite("tests/tests/plugin.rs", &["&[\"logs\", \"tiny\"]"]),
    ),
    (
        "darwinlm suspend ",
        By::Suite("tests/tests/plugin.rs", &["(\"suspend\", true)"]),
    ),
    (
        "darwinlm resume ",
        By::Suite("tests/tests/plugin.rs", &["(\"resume\", false)"]),
    ),
    ("darwinlm run -f tests/demo.yaml ", By::TheDemo),
    ("make demo", By::TheDemo),
    (
        "make e2e",
        By::Suite(".ci/run", &["exec make lint test e2e"]),
    ),
    ("make help", By::Here),
    (
        "make test",
        By::Suite(".ci/run", &["exec make lint test e2e"]),
    ),
    (
        "make build",
        By::Suite("Makefile", &["\ne2e: build model "]),
    ),
    (
        "make model",
        By::Suite("Makefile", &["\ne2e: build model "]),
    ),
    (
        "make images",
        By::Suite(
            "tests/dockerfiles.sh",
            &["build images ENGINE=", "OPERATOR_BASE=", "RUNNER_BASE="],
        ),
    ),
    (
        "docker push",
        By::Nobody("no test has a registry; a node's images are loaded onto it"),
    ),
    (
        "helm install darwinlm charts/darwinlm --namespace darwinlm-system",
        By::Suite(
            "tests/e2e.sh",
            &[
                "helm install darwinlm charts/darwinlm --namespace darwinlm-system",
                "--set image.repository=",
                "--set worker.image.repository=",
            ],
        ),
    ),
    (
        "helm test darwinlm",
        By::Suite("tests/tests/upgrades.rs", &["\"test\", \"darwinlm\""]),
    ),
    (
        "kubectl apply -f tests/demo.yaml",
        By::Suite(
            "tests/tests/on_a_cluster.rs",
            &["\"tests/demo.yaml\"", "namespace.apply(&yaml)"],
        ),
    ),
    (
        "kubectl apply -f volume.yaml",
        By::Suite(
            "tests/tests/on_a_cluster.rs",
            &["namespace.claim(\"darwinlm\", there.path())"],
        ),
    ),
    (
        "sudo ",
        By::Suite(
            "tests/tests/on_a_cluster.rs",
            &["put_smollm2(there.path())", "own(there.path())"],
        ),
    ),
    (
        "kubectl get pruningruns",
        By::Suite(
            "tests/tests/on_an_api_server.rs",
            &["&[\"get\", \"pruningruns\"]"],
        ),
    ),
];

/// The commands of a page: of its shell blocks, and those that its sentences name.
fn asked(page: &str) -> Vec<String> {
    let page = read(&repository().join(page));
    let blocks = page.blocks.iter().filter(|block| block.language == "sh");
    let typed = blocks.flat_map(|block| commands(&block.text));
    let named = page.code.into_iter().filter(|code| {
        ["make ", "darwinlm ", "target/release/darwinlm "]
            .iter()
            .any(|start| code.starts_with(start))
    });
    typed.chain(named).collect()
}

/// A command without the folder of its program.
fn plain(command: &str) -> &str {
    command.strip_prefix("target/release/").unwrap_or(command)
}

fn by(command: &str) -> Option<&'static (&'static str, By)> {
    let begins = |start: &str| {
        let rest = plain(command).strip_prefix(start.trim_end());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' ') || start.ends_with('='))
    };
    let known = COMMANDS.iter().filter(|(start, _)| begins(start));
    known.max_by_key(|(start, _)| start.len())
}

/// What only gives a name to later commands.
fn is_assignment(command: &str) -> bool {
    command
        .split_once('=')
        .is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase()))
}

#[test]
fn every_command_is_run_by_somebody_who_is_named() {
    let mut used = BTreeSet::new();
    for page in PAGES {
        let asked: Vec<_> = asked(page)
            .into_iter()
            .filter(|command| !is_assignment(command))
            .collect();
        assert!(asked.len() > 5, "{page}: {asked:?}");
        for command in asked {
            let (start, _) =
                by(&command).unwrap_or_else(|| panic!("{page}: no test runs `{command}`"));
            used.insert(*start);
        }
    }
    for (start, by) in COMMANDS {
        assert!(used.contains(start), "`{start}` is not asked for any more");
        match by {
            By::Here | By::TheDemo => {}
            By::Suite(file, words) => {
                let text = fs::read_to_string(repository().join(file)).expect("the suite is there");
                for word in *words {
                    assert!(text.contains(word), "`{start}`: {file} has no {word:?}");
                }
                is_started(file);
            }
            By::Nobody(reason) => assert!(reason.len() > 20, "`{start}`"),
        }
    }
}

/// A suite is started by `cargo test`, or by a script; a script by the Makefile.
fn is_started(file: &str) {
    let read = |file: &str| fs::read_to_string(repository().join(file)).expect("it is there");
    let name = file
        .rsplit(['/', '.'])
        .nth(usize::from(file.contains(".rs")))
        .expect("a file has a name");
    if file.ends_with(".rs") {
        let by_scripts = ["tests/api_server.sh", "tests/e2e.sh", "Makefile"]
            .map(read)
            .concat();
        let manifest = read("tests/Cargo.toml");
        let is_left_out = manifest.contains(&format!("name = \"{name}\"\ntest = false"));
        assert!(
            !is_left_out || by_scripts.contains(name),
            "nothing starts {file}"
        );
    } else if file.starts_with("tests/") {
        assert!(
            read("Makefile").contains(&format!("\t{file}\n")),
            "the Makefile does not start {file}"
        );
    }
}

#[test]
fn every_target_of_make_that_is_named_is_there_and_explained() {
    let make = |arguments: &[&str]| {
        let child = Command::new("make")
            .args(arguments)
            .current_dir(repository())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        finish(child.expect("make can be started"))
    };
    let help = make(&["help"]);
    let mut checked = 0;
    for command in PAGES
        .into_iter()
        .flat_map(asked)
        .filter(|command| command.starts_with("make "))
    {
        let target = command.split(' ').nth(1).expect("make is told what");
        let explained = help
            .stdout
            .lines()
            .any(|line| line.trim_start().starts_with(&format!("make {target} ")));
        assert!(
            explained,
            "`make help` does not tell of {target}: {}",
            help.stdout
        );
        let tried = make(&["--dry-run", target]);
        assert_eq!(tried.code, Some(0), "{command}: {}", tried.stderr);
        checked += 1;
    }
    assert!(checked >= 5, "{checked}");
}

/// A folder in which the pages' commands mean what they mean in the repository after the demo.
fn world() -> Local {
    let world = Local::new();
    let link = |to: &str, target| {
        let link = world.path().join(to);
        fs::create_dir_all(link.parent().expect("it lies in a folder"))
            .expect("the folder can be made");
        symlink(target, link).expect("a link can be made");
    };
    link("target/release", release_folder());
    link(".cache/demo/store", world.store());
    link("STORE", world.store());
    link("tests/demo.yaml", repository().join("tests/demo.yaml"));
    link(
        ".cache/models/smollm2-135m",
        repository().join(".cache/models/smollm2-135m"),
    );
    world
}

#[test]
fn what_is_asked_of_a_finished_run_is_answered() {
    let world = world();
    let digest = world.run(&[]).digest();
    let here = world.path().to_str().expect("the path is text");
    let path = PAGES
        .into_iter()
        .flat_map(asked)
        .find(|command| command.starts_with("export PATH="));
    let path = path.expect("the README puts the programs into the PATH");
    let mut told = BTreeSet::new();
    for command in PAGES.into_iter().flat_map(asked) {
        let is_make = command.starts_with("make ");
        if is_make || !matches!(by(&command), Some((_, By::Here))) || !command.contains(' ') {
            continue;
        }
        // In a sentence a command may be called by its name alone.
        let words = plain(&command).split(' ').count();
        if words == 2 && !command.contains("--") && !command.starts_with("export") {
            continue;
        }
        let command = command
            .replace("/srv/data", here)
            .replace("/srv/darwinlm/store", "STORE")
            .replace("smollm2-demo", "tiny");
        let child = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &format!("{path}\n{command}")])
            .current_dir(world.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let ended = finish(child.expect("bash can be started"));
        assert_eq!(
            ended.code,
            Some(0),
            "{command}: {}{}",
            ended.stdout,
            ended.stderr
        );
        if command.contains("verify") || command.contains("darwinlm run") {
            assert_eq!(ended.digest(), digest, "{command}");
        }
        told.insert(
            plain(&command)
                .split(' ')
                .nth(1)
                .expect("it has two words")
                .to_owned(),
        );
    }
    for subcommand in ["run", "plan", "report", "lineage", "verify", "--help"] {
        assert!(
            told.contains(subcommand),
            "{subcommand} was not tried: {told:?}"
        );
    }
    assert!(
        world.path().join("report.html").exists(),
        "the page is where the README says"
    );
}

#[test]
fn the_demo_begins_is_stopped_and_goes_on() {
    fetched("models/smollm2-135m");
    fetched("text/sotu.jsonl");
    let folder = TempDir::with_prefix("darwinlm-demo-").expect("a folder can be made");
    // It begins in the middle the second time: model and tokens are there.
    for begins in ["Preparing", "BuildingDatabase"] {
        let mut child = Command::new(repository().join("tests/demo.sh"))
            .arg(folder.path())
            .env(
                "CARGO_TARGET_DIR",
                release_folder().parent().expect("it lies in a folder"),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the demo can be started");
        // Held to the end: a program whose words nobody takes is killed by them.
        let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let mut stages = Vec::new();
        for line in lines.by_ref().map_while(Result::ok) {
            let is_far_enough = line.starts_with("BuildingDatabase");
            stages.push(line);
            if is_far_enough {
                break;
            }
        }
        let seen = stages.iter().any(|line| line.starts_with(begins));
        assert!(seen, "no {begins} in {stages:?}");
        let asked = Command::new("kill")
            .args(["-INT", &child.id().to_string()])
            .status();
        assert!(asked.is_ok_and(|status| status.success()));
        assert_eq!(finish(child).code, Some(130), "{stages:?}");
    }
    let plan = folder
        .path()
        .join("store/runs/local.smollm2-demo/plan.json");
    assert!(plan.exists(), "{} is not there", plan.display());
}
