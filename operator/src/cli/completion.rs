//! `darwinlm completion`: what makes a shell complete the command.

use std::io::{Write, stdout};

use clap::{Args, Command, CommandFactory, ValueEnum};
use clap_complete::generate;

use super::{Arguments, Failure};

pub(super) const EXAMPLES: &str = "\
Examples:
  source <(darwinlm completion bash)        in ~/.bashrc
  source <(darwinlm completion zsh)         in ~/.zshrc, after compinit
  darwinlm completion fish | source         in ~/.config/fish/config.fish
  darwinlm completion kubectl > ~/bin/kubectl_complete-darwinlm && chmod +x ~/bin/kubectl_complete-darwinlm
      `kubectl darwinlm`, where kubectl itself is completed and ~/bin is in the PATH";

/// kubectl starts a program of this name with the words so far, to complete a plugin's.
const KUBECTL: &str = "\
#!/bin/sh
# Completes `kubectl darwinlm`; belongs into the PATH as kubectl_complete-darwinlm, and is to be executable.
exec kubectl-darwinlm __complete \"$@\"
";

/// What kubectl is told after the candidates: no files are meant.
const NO_FILES: &str = ":4";
/// Files may be meant.
const FILES: &str = ":0";

#[derive(Debug, Args)]
pub(super) struct Completion {
    /// Whose script
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
    /// A script for `kubectl darwinlm`
    Kubectl,
}

#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(super) struct Candidates {
    /// The words so far, the last one unfinished
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

/// Prints the script.
pub(super) fn completion(arguments: &Completion) -> Result<(), Failure> {
    say(&script(arguments.shell));
    Ok(())
}

/// Prints what the last word may become, as kubectl reads it.
pub(super) fn candidates(arguments: &Candidates) -> Result<(), Failure> {
    say(&offered(&arguments.words).join("\n"));
    say("\n");
    Ok(())
}

/// Who reads no further has seen enough.
fn say(text: &str) {
    let _ = stdout().write_all(text.as_bytes());
}

fn script(shell: Shell) -> String {
    let shell = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
        Shell::Kubectl => return KUBECTL.to_owned(),
    };
    let mut text = Vec::new();
    generate(shell, &mut shown(), "darwinlm", &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// The command with what people see of it.
fn shown() -> Command {
    let whole = Arguments::command();
    let seen = whole.get_subcommands().filter(|one| !one.is_hide_set());
    let seen: Vec<Command> = seen.cloned().collect();
    Command::new("darwinlm")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommands(seen)
}

/// Candidates for the last word, each with what it is after a tab, then what kubectl is told.
fn offered(words: &[String]) -> Vec<String> {
    let command = shown();
    let (last, before) = match words.split_last() {
        Some((last, before)) => (last.as_str(), before),
        None => ("", &[][..]),
    };
    let Some(given) = before.first() else {
        let all = command.get_subcommands();
        let fitting = all.filter(|one| one.get_name().starts_with(last));
        let told = fitting.map(|one| line(one.get_name(), one.get_about()));
        return told.chain([NO_FILES.to_owned()]).collect();
    };
    let Some(subcommand) = command.find_subcommand(given) else {
        return vec![NO_FILES.to_owned()];
    };
    let long = |argument: &clap::Arg| argument.get_long().map(|long| format!("--{long}"));
    let short = |argument: &clap::Arg| argument.get_short().map(|short| format!("-{short}"));
    let takes_value = |word: &String| {
        let mut all = subcommand.get_arguments();
        let is_it = |one: &&clap::Arg| {
            long(one).as_ref() == Some(word) || short(one).as_ref() == Some(word)
        };
        all.find(is_it)
            .is_some_and(|one| one.get_action().takes_values())
    };
    if !last.starts_with('-') || before.last().is_some_and(takes_value) {
        return vec![FILES.to_owned()];
    }
    let all = subcommand.get_arguments();
    let told = all.filter_map(|one| Some((long(one)?, one.get_help())));
    let fitting = told.filter(|(name, _)| name.starts_with(last));
    fitting
        .map(|(name, help)| line(&name, help))
        .chain([NO_FILES.to_owned()])
        .collect()
}

fn line(name: &str, about: Option<&clap::builder::StyledStr>) -> String {
    let about = about.map(ToString::to_string).unwrap_or_default();
    format!("{name}\t{}", about.lines().next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered_for(words: &[&str]) -> Vec<String> {
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        offered(&words)
    }

    #[test]
    fn every_script_knows_every_subcommand_that_is_shown_and_no_other() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = script(shell);
            for command in shown().get_subcommands() {
                let name = command.get_name();
                assert!(script.contains(name), "{shell:?} does not know {name}");
            }
            assert!(!script.contains("__complete"), "{shell:?}");
        }
        assert!(script(Shell::Kubectl).starts_with("#!/bin/sh\n"));
    }

    #[test]
    fn kubectl_is_offered_subcommands_and_then_their_options() {
        let first = offered_for(&["wa"]);
        assert_eq!(
            first,
            ["watch\tShow how a run goes on, until it ends", ":4"]
        );
        assert!(offered_for(&[]).len() > 10);
        let options = offered_for(&["explain", "--st"]);
        assert!(options[0].starts_with("--store\tLook into"), "{options:?}");
        assert_eq!(options[1..], [":4"]);
        assert_eq!(offered_for(&["explain", "--store", "-"]), [":0"]);
        assert_eq!(offered_for(&["report", ""]), [":0"]);
        assert_eq!(offered_for(&["nothing", "x"]), [":4"]);
    }

    #[test]
    fn the_command_is_defined_without_contradiction_and_each_part_has_examples() {
        Arguments::command().debug_assert();
        for command in shown().get_subcommands() {
            let examples = command.get_after_help().map(ToString::to_string);
            let name = command.get_name();
            let examples = examples.unwrap_or_default();
            assert!(
                examples.contains(&format!("darwinlm {name}")) && examples.starts_with("Examples:"),
                "{name} has no examples"
            );
        }
    }
}
