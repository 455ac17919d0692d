//! Writes the sample workbook as `.xlsx` and as a folder of `.csv` files. Run from the top of the repository:
//!
//! ```text
//! cargo run -p karute-tests --bin make-sample
//! ```

use std::path::Path;

use karute_tests::sample;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sync/sample");
    let workbook = sample::workbook()?;
    sample::write_csv(&workbook, &directory.join("karute-sample"))?;
    sample::write_xlsx(&workbook, &directory.join("karute-sample.xlsx"))?;
    for sheet in workbook {
        println!("{:>6} rows  {}", sheet.rows.len(), sheet.name);
    }
    Ok(())
}
