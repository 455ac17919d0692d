//! Writes the golden snapshot of the format that this build writes, once: a golden file is never changed, because files
//! like it are in the field. Run from the top of the repository when the format number is new:
//!
//! ```text
//! cargo run -p karute-tests --bin make-golden
//! ```

use std::path::Path;

use karute_engine::snapshot::header::FORMAT;
use karute_tests::snapshots;

fn main() -> std::io::Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("golden/format-{FORMAT}.karute"));
    let golden = snapshots::golden();
    let mut file = std::fs::File::create_new(&path)?;
    golden.write_to(&mut file)?;
    println!("{}: {}", path.display(), golden.id());
    Ok(())
}
