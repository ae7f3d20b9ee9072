//! The type of the file system that a folder lies on, so that messages can name it.

use std::path::Path;

/// The type (`ext4`, `nfs4`, …) from the kernel's list of mounts; none where there is no such list.
pub(super) fn of(folder: &Path) -> Option<String> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
    deepest(&mounts, folder).map(str::to_owned)
}

/// Of the mounts above the folder the deepest; of several at one place the last.
fn deepest<'mounts>(mounts: &'mounts str, folder: &Path) -> Option<&'mounts str> {
    let above = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        // The kernel writes a space as \040.
        let place = fields.next()?.replace("\\040", " ");
        let depth = Path::new(&place).components().count();
        folder
            .starts_with(&place)
            .then_some((depth, fields.next()?))
    });
    above.max_by_key(|(depth, _)| *depth).map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "overlay / overlay rw 0 0\nserver:/x /data\\040sets nfs4 rw 0 0\n\
                          tmpfs /data tmpfs rw 0 0\nother /data ext4 rw 0 0\n";

    #[test]
    fn the_deepest_and_last_mount_names_the_file_system() {
        assert_eq!(deepest(MOUNTS, Path::new("/data sets/run")), Some("nfs4"));
        assert_eq!(deepest(MOUNTS, Path::new("/data/run")), Some("ext4"));
        assert_eq!(deepest(MOUNTS, Path::new("/database")), Some("overlay"));
    }
}
