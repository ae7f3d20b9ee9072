//! Prints the guide to everything that runs say: `cargo run -p darwinlm-operator --example guide`.

fn main() {
    print!("{}", darwinlm_operator::reference::reference());
}
