//! What a person sees on a terminal of 80 × 24, and that the terminal is theirs again afterwards.

use darwinlm_tests::local::{Local, finish};
use darwinlm_tests::terminal::{SIZE, Terminal, is_there};
use regex::Regex;

/// A page without what differs from run to run and from processor to processor.
fn masked(lines: &[String]) -> String {
    let rules = [
        (r"(?m)^(  validation  ).*(  from)", "$1~~~$2"),
        (r"(?m)^( {14}).*(  to  )", "$1~~~$2"),
        (r"sha256:[0-9a-f]+…?", "sha256:…"),
        (r"/[^ `]*/store", "STORE"),
        (r"device time .*", "device time …"),
        (r"(\d+ (d|h|min|s)\b ?)+", "TIME "),
        (r"[█▓▒░·▁▂▃▄▅▆▇]{3,}[█▓▒░·▁▂▃▄▅▆▇ ]*", "~~~ "),
        (r"\d+(\.\d+|,\d+)+", "#"),
        (r"of \d+ wrote", "of # wrote"),
        (r"generation \d+", "generation #"),
        (r"\d+ repeated", "# repeated"),
    ];
    let mut text = lines.join("\n");
    for (pattern, shown) in rules {
        let pattern = Regex::new(pattern).expect("the pattern can be read");
        text = pattern.replace_all(&text, shown).into_owned();
    }
    let lines = text.lines().map(str::trim_end);
    lines.collect::<Vec<_>>().join("\n")
}

/// What came after the last line that was typed, until the command ended.
fn since(history: &[String], typed: &str) -> Vec<String> {
    let last = history.iter().rposition(|line| line.contains(typed));
    let first = last.expect("it was typed") + 1;
    let page = history[first..].iter();
    let page = page.take_while(|line| !line.starts_with("ended with "));
    page.cloned().collect()
}

fn fits(screen: &[String], (width, height): (usize, usize)) {
    assert!(screen.len() <= height, "{} lines", screen.len());
    for line in screen {
        let columns = line.chars().count();
        assert!(columns <= width, "{columns} columns: {line}");
    }
}

/// The command has ended with this code, and the terminal is the shell's again.
fn is_the_shells_again(terminal: &Terminal, code: i32) {
    terminal.await_text(&format!("ended with {code}"));
    assert!(!terminal.is_taken(), "the other screen is still there");
    assert!(terminal.has_cursor(), "the cursor is gone");
}

#[test]
fn a_finished_run_is_told_on_one_page_that_stays() {
    if !is_there() {
        return;
    }
    let world = Local::new();
    let digest = world.run(&[]).digest();
    let terminal = Terminal::start(world.path());
    let watch = "darwinlm watch --store ./store; echo ended with $?";
    terminal.enter(watch);
    is_the_shells_again(&terminal, 0);
    let page = since(&terminal.history(), "darwinlm watch");
    assert!(page[0].ends_with(&digest), "{page:?}");
    insta::assert_snapshot!("watch_finished", masked(&page));
    terminal.clear();
    terminal.enter("darwinlm explain --store ./store; echo ended with $?");
    is_the_shells_again(&terminal, 0);
    let page = since(&terminal.history(), "darwinlm explain");
    assert!(
        page.iter().any(|line| line.contains("✓ evaluate")),
        "{page:?}"
    );
}

#[test]
fn a_run_at_work_is_drawn_whole_at_any_size_and_left_by_ctrl_c() {
    if !is_there() {
        return;
    }
    let world = Local::new();
    world.edit("generations: 5", "generations: 5000");
    let mut run = world.start(&["--workers", "1"]);
    world.await_generation(3);
    let terminal = Terminal::start(world.path());
    terminal.enter("darwinlm watch --store ./store; echo ended with $?");
    let told = [
        "It moves",
        "▸ search",
        " of 5000, about ",
        "1 alive: search-",
        "generation  step 1                step 2",
        "6→3 ",
        "  validation  ",
        "  attention   ",
        "  mlp         ",
    ];
    // All on one screen: a worker that is late with its account is alive on the next.
    let screen = terminal.await_screen(&format!("all of {told:?}"), |screen| {
        let is_told = |told: &&str| screen.iter().any(|line| line.contains(told));
        told.iter().all(is_told)
    });
    assert!(terminal.is_taken() && !terminal.has_cursor());
    fits(&screen, SIZE);
    assert!(screen[0].starts_with("PruningRun local/tiny"), "{screen:?}");
    // It goes on by itself: the newest generation is another.
    let newest = |screen: &[String]| {
        let heading = screen
            .iter()
            .position(|line| line.starts_with("generation  "));
        screen[heading.expect("there are generations") + 1].clone()
    };
    let first = newest(&screen);
    terminal.await_screen("a newer generation", |screen| {
        screen.iter().any(|line| line.starts_with("generation  ")) && newest(screen) != first
    });
    for size in [(60, 22), (120, 40), SIZE] {
        terminal.resize(size.0, size.1);
        let drawn = terminal.await_screen("the page in its new size", |screen| {
            let is_map = |line: &String| line.starts_with("  mlp  ");
            screen.iter().any(is_map) && screen.iter().all(|line| line.chars().count() <= size.0)
        });
        fits(&drawn, size);
    }
    terminal.press("C-c");
    is_the_shells_again(&terminal, 130);
    let left = terminal.history().join("\n");
    assert!(left.contains("It moves"), "the last page stays: {left}");
    terminal.clear();
    terminal.enter("darwinlm explain --store ./store");
    terminal.await_text("▸ search");
    // Then nobody works any more: it says so, and what to do.
    run.kill().expect("it can be killed");
    finish(run);
    terminal.clear();
    terminal.enter("sleep 15; darwinlm explain --store ./store; echo ended with $?");
    is_the_shells_again(&terminal, 0);
    let page = since(&terminal.history(), "echo ended");
    insta::assert_snapshot!("explain_stopped", masked(&facts_of_a_stopped_run(&page)));
}

/// All but the line that says how many generations were searched before the kill.
fn facts_of_a_stopped_run(page: &[String]) -> Vec<String> {
    let differs = ["  generations", "  trials", "▸ search"];
    let stays = |line: &&String| !differs.iter().any(|start| line.starts_with(start));
    page.iter().filter(stays).cloned().collect()
}

#[test]
fn a_run_is_seen_as_a_bar_and_a_stopped_one_leaves_the_cursor() {
    if !is_there() {
        return;
    }
    let world = Local::new();
    world.edit("generations: 5", "generations: 5000");
    let terminal = Terminal::start(world.path());
    terminal.clear();
    terminal.enter("darwinlm run -f run.yaml --volume data=. ; echo ended with $?");
    let screen = terminal.await_screen("a bar of the search", |screen| {
        let is_bar = |line: &String| line.contains("Searching") && line.contains("/5000");
        screen.iter().any(is_bar)
    });
    fits(&screen, SIZE);
    terminal.press("C-c");
    terminal.await_text("stopped; the same command resumes");
    is_the_shells_again(&terminal, 130);
}

#[test]
fn help_has_examples_and_the_tab_key_completes() {
    if !is_there() {
        return;
    }
    let world = Local::new();
    let terminal = Terminal::start(world.path());
    terminal.clear();
    terminal.enter("darwinlm --help; echo ended with $?");
    is_the_shells_again(&terminal, 0);
    let help = since(&terminal.history(), "darwinlm --help");
    insta::assert_snapshot!("help", help.join("\n"));
    terminal.clear();
    terminal.enter("source <(darwinlm completion bash); echo ended with $?");
    is_the_shells_again(&terminal, 0);
    terminal.write("darwinlm comp");
    terminal.press("Tab");
    terminal.await_text("darwinlm completion");
}
