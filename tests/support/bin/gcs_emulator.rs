//! Google Cloud Storage on this machine, for trying things by hand:
//!
//! ```text
//! cargo run -p karute-tests --bin gcs-emulator -- 127.0.0.1:4443 my-bucket
//! KARUTE_BUCKET=gs://my-bucket KARUTE_BUCKET_ENDPOINT=http://127.0.0.1:4443 karute snapshot push
//! ```

use karute_tests::gcs::Emulator;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:4443".into()).parse()?;
    let bucket = arguments.next().unwrap_or_else(|| "karute".into());
    let emulator = Emulator::start(address, &bucket)?;
    println!("gs://{bucket} on {}", emulator.url());
    loop {
        std::thread::park();
    }
}
