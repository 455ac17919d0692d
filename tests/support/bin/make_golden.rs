//! Writes the golden snapshots of this version, once: a golden file is never changed, because files
//! like it are in the field. Run from the top of the repository when a new version writes
//! other bytes:
//!
//! ```text
//! cargo run -p karute-tests --bin make-golden
//! ```

use std::path::Path;

use karute_engine::Precision;
use karute_tests::snapshots;

fn main() -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    for (precision, name) in [(Precision::F32, ".karute"), (Precision::F16, "-f16.karute")] {
        let path = folder.join([env!("CARGO_PKG_VERSION"), name].concat());
        if path.exists() {
            println!("{} is there", path.display());
            continue;
        }
        let golden = snapshots::golden(precision);
        golden.write_to(&mut std::fs::File::create_new(&path)?)?;
        println!("{}: {}", path.display(), golden.id());
    }
    Ok(())
}
