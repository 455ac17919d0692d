//! The `karute` program.

fn main() -> std::process::ExitCode {
    karute_server::main()
}
