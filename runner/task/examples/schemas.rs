//! Writes the JSON Schemas of TaskSpec and TaskReport into `schemas/`.

use std::path::Path;

use darwinlm_task::schemas;

fn main() -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
    for (name, text) in schemas() {
        std::fs::write(folder.join(name), text)?;
    }
    Ok(())
}
