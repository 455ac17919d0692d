//! Writes the golden snapshot of this version, once: a golden file is never changed, because files
//! like it are in the field. Run from the top of the repository when a new version writes
//! other bytes:
//!
//! ```text
//! cargo run -p karute-tests --bin make-golden
//! ```

use std::path::Path;

use karute_tests::snapshots;

fn main() -> std::io::Result<()> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(concat!("golden/", env!("CARGO_PKG_VERSION"), ".karute"));
    let golden = snapshots::golden();
    let mut file = std::fs::File::create_new(&path)?;
    golden.write_to(&mut file)?;
    println!("{}: {}", path.display(), golden.id());
    Ok(())
}
