//! The page of a run in a real browser: its numbers are the ledger's, it asks for nothing, and it is read in
//! light and dark, on a phone and on paper.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use darwinlm_tests::chromium::{Chromium, is_there};
use darwinlm_tests::local::Local;
use serde_json::Value;

#[test]
fn the_page_that_a_run_leaves_is_right_in_a_browser() {
    if !is_there() {
        return;
    }
    let world = Local::new();
    world.edit(
        "  evaluation: {}",
        "  postTraining: {tokens: 1024, learningRate: \"1e-3\", batchSequences: 2}\n  evaluation: {}",
    );
    let finished = world.run(&["--workers", "2"]);
    let digest = finished.digest();
    let page = world.store().join("runs/local.tiny/report.html");
    let told = format!("report written to {}", page.display());
    assert!(finished.stdout.contains(&told), "{}", finished.stdout);
    let mut browser = Chromium::open(&page);
    browser.look(1200, 900, false);
    its_numbers_are_the_ledgers(&mut browser, &world, &digest);
    everything_is_drawn_with_words_for_who_does_not_see_it(&mut browser);
    light_and_dark_differ_and_neither_is_blank(&mut browser);
    nothing_scrolls_sideways_but_in_a_box_of_its_own(&mut browser);
    it_is_printed(&mut browser);
    assert_eq!(browser.console(), [""; 0]);
    let own = format!("\"file://{}\"", page.display());
    let asked = browser.requests();
    let asked = asked.iter().filter(|url| !url.starts_with("\"data:"));
    assert_eq!(
        asked.collect::<Vec<_>>(),
        [&own],
        "it asks for itself alone"
    );
}

#[test]
fn a_page_that_speaks_or_asks_for_something_is_heard() {
    if !is_there() {
        return;
    }
    let folder = tempfile::TempDir::with_prefix("darwinlm-story-").expect("a folder can be made");
    let page = folder.path().join("page.html");
    let text =
        "<body><img src=\"http://example.com/a.png\"><script>console.log(1)</script><p>a</p>";
    fs::write(&page, text).expect("it can be written");
    let mut browser = Chromium::open(&page);
    let said = browser.console();
    assert!(
        said.iter().any(|line| line.contains("consoleAPICalled")),
        "{said:?}"
    );
    assert!(
        said.iter().any(|line| line.contains("a.png")),
        "it was not fetched: {said:?}"
    );
    let asked = browser.requests();
    assert!(
        asked.iter().any(|url| url.contains("example.com")),
        "{asked:?}"
    );
    browser.look(360, 800, false);
    browser.value("document.querySelector('p').style.width = '500px'");
    assert_eq!(
        browser.value("document.documentElement.scrollWidth > 360"),
        true
    );
}

/// Every fitness of the last selection and of every survivor, every survivor's figures on held-out text,
/// every number of the evaluation, and the digest.
fn its_numbers_are_the_ledgers(browser: &mut Chromium, world: &Local, digest: &str) {
    let shown = browser.value("[...document.querySelectorAll('data')].map(one => one.value)");
    let shown: BTreeSet<String> = texts(&shown).collect();
    let run = world.store().join("runs/local.tiny");
    let entries: Vec<Value> = (1..=5)
        .map(|index| json(&world.store().join(Local::ledger_entry(index))))
        .map(|sealed| sealed["entry"]["Generation"].clone())
        .collect();
    let mut expected = Vec::new();
    for entry in &entries {
        let survivor = &entry["survivor"];
        expected.extend([survivor["fitness"].clone(), survivor["parameters"].clone()]);
        let born = survivor["bornInGeneration"].as_u64().expect("a generation");
        let figures = json(&run.join(format!("survivors/{born:06}.json"))).to_string();
        let figures = figures.split(&['"', ':', ','][..]);
        expected.extend(figures.filter(|text| text.contains('.')).map(Value::from));
    }
    let steps = entries[4]["steps"].as_array().expect("it has steps");
    let trials = steps.iter().flat_map(|step| step["trials"].as_array());
    let outcomes = trials.flatten().map(|trial| &trial["outcome"]["Scored"]);
    expected.extend(outcomes.map(|scored| scored["fitness"].clone()));
    let evaluation = json(&run.join("evaluation.json"));
    for model in ["dense", "uniform", "pruned", "trained"] {
        expected.push(evaluation["report"][model]["parameters"].clone());
    }
    assert!(expected.len() > 30, "{expected:?}");
    for value in &expected {
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), ToOwned::to_owned);
        assert!(shown.contains(&text), "{text} is not among {shown:?}");
    }
    let words = browser.value("document.body.textContent");
    let words = words.as_str().expect("it has words");
    for model in ["dense", "uniform", "pruned", "trained"] {
        for figure in ["perplexity", "kl", "tokensPerSecond"] {
            let figure = evaluation["report"][model][figure].as_str().expect("text");
            assert!(words.contains(figure), "{figure} is not told");
        }
    }
    assert!(words.contains(digest), "the digest is not told");
}

fn everything_is_drawn_with_words_for_who_does_not_see_it(browser: &mut Chromium) {
    let labels = browser.value(
        "[...document.querySelectorAll('svg')].filter(one => one.getBoundingClientRect().width > 100 \
         && one.role === 'img').map(one => one.ariaLabel)",
    );
    let expected = [
        "Validation KL of the survivor by generation",
        "Validation perplexity of the survivor by generation",
        "Share of units removed, by block",
        "Modules at each level",
        "Loss of post-training",
        "Who fell out in which step",
    ];
    assert_eq!(texts(&labels).collect::<Vec<_>>(), expected);
    let cut_off = browser.value(
        "[...document.querySelectorAll('svg text')].filter(one => { const [text, all] = [one, \
         one.ownerSVGElement].map(part => part.getBoundingClientRect()); return text.left < all.left - 1 || \
         text.right > all.right + 1 || text.top < all.top - 1 || text.bottom > all.bottom + 1 })\
         .map(one => one.textContent.trim())",
    );
    assert_eq!(texts(&cut_off).collect::<Vec<_>>(), [""; 0], "cut off");
    let open = "document.querySelectorAll('details').forEach(one => one.open = true)";
    browser.value(open);
}

fn light_and_dark_differ_and_neither_is_blank(browser: &mut Chromium) {
    let mut grounds = Vec::new();
    for is_dark in [false, true] {
        browser.look(1200, 3000, is_dark);
        let pixels = browser.pixels();
        assert!(pixels.colors > 50, "{pixels:?}");
        assert!((1.0..50.0).contains(&pixels.drawn_percent), "{pixels:?}");
        grounds.push(
            pixels
                .ground
                .iter()
                .map(|&part| u32::from(part))
                .sum::<u32>(),
        );
        let low = browser.value(CONTRAST);
        assert_eq!(low, 0, "words of little contrast, dark: {is_dark}");
    }
    assert!(grounds[0] > 700 && grounds[1] < 120, "{grounds:?}");
}

/// How many texts stand out from the ground by less than 4.5 to 1, as WCAG 2 counts it.
const CONTRAST: &str = "(() => { \
    const part = value => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4; \
    const light = color => { const [r, g, b] = color.match(/[\\d.]+/g).map(Number); \
      return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b) }; \
    const ground = light(getComputedStyle(document.documentElement).backgroundColor); \
    return [...document.querySelectorAll('h1,h2,p,td,th,summary,code,footer,figcaption')].filter(one => { \
      const own = light(getComputedStyle(one).color); \
      return (Math.max(own, ground) + 0.05) / (Math.min(own, ground) + 0.05) < 4.5 }).length })()";

fn nothing_scrolls_sideways_but_in_a_box_of_its_own(browser: &mut Chromium) {
    for width in [320, 360, 768, 1200] {
        browser.look(width, 800, false);
        let wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
        assert_eq!(browser.value(wide), 0, "of {width}");
        assert_eq!(browser.value("innerWidth"), width, "it is not made smaller");
    }
    browser.look(360, 3600, true);
    let scrolls = browser.value(
        "[...document.querySelectorAll('.wide')].some(one => one.scrollWidth > one.clientWidth)",
    );
    assert_eq!(scrolls, true, "a phone is narrower than the tree");
    let small = browser.value(
        "Math.min(...[...document.querySelectorAll('svg text')].map(one => \
         one.getBoundingClientRect().height))",
    );
    let small = small.as_f64().expect("texts have a height");
    assert!(small > 9.0, "letters of {small} pixels");
}

fn it_is_printed(browser: &mut Chromium) {
    // %PDF-1, and at least as much as a page of words and drawings takes.
    let paper = browser.print();
    assert!(
        paper.starts_with("JVBERi0x") && paper.len() > 20_000,
        "{}",
        paper.len()
    );
}

fn texts(list: &Value) -> impl Iterator<Item = String> {
    let list = list.as_array().cloned().unwrap_or_default();
    list.into_iter()
        .filter_map(|text| Some(text.as_str()?.to_owned()))
}

fn json(path: &Path) -> Value {
    let text =
        fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("it is JSON")
}
