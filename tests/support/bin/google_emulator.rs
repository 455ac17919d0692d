//! Google Sheets, Drive and Vertex embeddings on this machine, with the sample workbook, for trying things by hand:
//!
//! ```text
//! cargo run -p karute-tests --bin google-emulator -- 127.0.0.1:8085
//! ```

use karute_tests::google::{Emulator, SPREADSHEET, sample};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8085".into()).parse()?;
    let emulator = Emulator::start(address, sample()?)?;
    println!(
        "Google on {url}. Tell karute:\n\n\
         export KARUTE_GOOGLE_ENDPOINT={url} KARUTE_GOOGLE_ANONYMOUS=true KARUTE_SOURCE=sheets\n\
         export VECTOR_DB_SPREADSHEET_ID={SPREADSHEET} KARUTE_EMBEDDER=lexical",
        url = emulator.url()
    );
    loop {
        std::thread::park();
    }
}
