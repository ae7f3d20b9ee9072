//! Prints the reference of every field: `cargo run -p darwinlm-api --example reference`.

fn main() {
    print!("{}", darwinlm_api::reference());
}
