//! The `karute` program, as a target of this package.

fn main() -> std::process::ExitCode {
    karute_server::main()
}
