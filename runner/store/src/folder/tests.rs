//! Write-once folders with several writers and with damage.

use super::*;

const KEY: &str = "databases/abc";

async fn filled(store: &Store) -> Folder {
    let writer = FolderWriter::new(store, KEY);
    let mut files = Files::new();
    for (name, content) in [
        ("config.json", "{}"),
        ("LICENSE", "free"),
        ("w.safetensors", "12345"),
    ] {
        files.insert(
            name.to_owned(),
            writer.put(name, content.into()).await.unwrap(),
        );
    }
    assert!(
        writer.complete().await.unwrap().is_none(),
        "complete before its manifest"
    );
    writer
        .finish(&serde_json::json!({"levels": 10, "damping": 1}), files)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_folder_reads_back_as_written() {
    let store = Store::open("memory:///").unwrap();
    let written = filled(&store).await;
    let folder = open_folder(&store, KEY).await.unwrap().unwrap();
    assert_eq!(folder.manifest(), written.manifest());
    assert_eq!(folder.sha256(), written.sha256());
    assert_eq!(folder.bytes(), 11);
    assert_eq!(folder.read("w.safetensors").await.unwrap(), "12345");
    assert!(
        folder
            .file_key("LICENSE")
            .unwrap()
            .starts_with("databases/abc/LICENSE.")
    );
    let error = folder.read("other").await.unwrap_err().to_string();
    assert!(
        error.contains("\"other\"") && error.contains("LICENSE, config.json"),
        "{error}"
    );
    folder.verify().await.unwrap();
}

#[tokio::test]
async fn the_manifest_has_the_same_bytes_whatever_the_order() {
    let (one, other) = (
        Store::open("memory:///").unwrap(),
        Store::open("memory:///").unwrap(),
    );
    let folder = filled(&one).await;
    let writer = FolderWriter::new(&other, KEY);
    let mut files = Files::new();
    for (name, content) in [
        ("w.safetensors", "12345"),
        ("LICENSE", "free"),
        ("config.json", "{}"),
    ] {
        files.insert(
            name.to_owned(),
            writer.put(name, content.into()).await.unwrap(),
        );
    }
    let about = serde_json::json!({"damping": 1, "levels": 10});
    assert_eq!(
        writer.finish(&about, files).await.unwrap().sha256(),
        folder.sha256()
    );
}

#[tokio::test]
async fn a_flipped_byte_in_any_file_is_an_error_that_names_it() {
    let store = Store::open("memory:///").unwrap();
    let folder = filled(&store).await;
    for name in ["config.json", "LICENSE", "w.safetensors"] {
        let key = folder.file_key(name).unwrap();
        let whole = store.get(&key).await.unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.to_vec();
            bytes[at] ^= 4;
            store.put_overwrite(&key, bytes.into()).await.unwrap();
            for error in [
                folder.read(name).await.unwrap_err(),
                folder.verify().await.unwrap_err(),
            ] {
                assert!(error.to_string().contains(&key), "{error}");
            }
        }
        store.put_overwrite(&key, whole).await.unwrap();
    }
    folder.verify().await.unwrap();
}

#[tokio::test]
async fn a_torn_manifest_is_an_error_and_not_an_empty_folder() {
    let store = Store::open("memory:///").unwrap();
    filled(&store).await;
    let key = format!("{KEY}/{MANIFEST}");
    let whole = store.get(&key).await.unwrap();
    store
        .put_overwrite(&key, whole.slice(..whole.len() / 2))
        .await
        .unwrap();
    let error = open_folder(&store, KEY).await.unwrap_err();
    assert!(error.to_string().contains(&key), "{error}");
}

#[tokio::test]
async fn a_late_writer_with_other_bytes_changes_nothing() {
    let store = Store::open("memory:///").unwrap();
    let folder = filled(&store).await;
    let late = FolderWriter::new(&store, KEY);
    let scratch = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(scratch.path(), "12346").unwrap();
    let mut files = folder.manifest().files.clone();
    let other = late
        .put_file("w.safetensors", scratch.path())
        .await
        .unwrap();
    files.insert("w.safetensors".to_owned(), other);
    let about = serde_json::json!({"levels": 10, "damping": 1});
    let found = late.finish(&about, files).await.unwrap();
    assert_eq!(found.sha256(), folder.sha256());
    found.verify().await.unwrap();
    assert_eq!(found.read("w.safetensors").await.unwrap(), "12345");
}

#[tokio::test]
async fn a_folder_about_something_else_is_a_conflict() {
    let store = Store::open("memory:///").unwrap();
    let files = filled(&store).await.manifest().files.clone();
    let about = serde_json::json!({"levels": 11, "damping": 1});
    let error = FolderWriter::new(&store, KEY)
        .finish(&about, files)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("\"levels\":10") && error.contains("\"levels\":11"),
        "{error}"
    );
}

#[tokio::test]
async fn workers_fill_a_folder_in_parts_and_the_first_of_each_part_wins() {
    let store = Store::open("memory:///").unwrap();
    let (one, other) = (
        FolderWriter::new(&store, KEY),
        FolderWriter::new(&store, KEY),
    );
    assert_eq!(one.part("blocks-0").await.unwrap(), None);
    let first = Files::from([("m".to_owned(), one.put("m", "1".into()).await.unwrap())]);
    let second = Files::from([("m".to_owned(), other.put("m", "2".into()).await.unwrap())]);
    assert_eq!(one.finish_part("blocks-0", &first).await.unwrap(), first);
    assert_eq!(other.finish_part("blocks-0", &second).await.unwrap(), first);
    assert_eq!(other.part("blocks-0").await.unwrap(), Some(first));
}
