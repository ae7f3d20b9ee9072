//! One of several processes that create the same keys: `create_race <store URL> <name> <keys>`.
//!
//! Prints the keys that it was told it created.

use darwinlm_store::{Created, Store};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, name, keys] = arguments.as_slice() else {
        return Err("usage: create_race <store URL> <name> <keys>".into());
    };
    let store = Store::open(url)?;
    for key in 0..keys.parse::<u32>()? {
        let key = format!("race/{key:04}");
        match store.put_create(&key, name.clone().into()).await? {
            Created::Created => println!("{key}"),
            Created::Existed => {}
        }
    }
    Ok(())
}
