//! Fear: the house falls into disrepair. An arrow turned round, a room that touches the disk, a file at the top level,
//! a crate without the lints, a sample that nobody can make again.

#![expect(clippy::expect_used, reason = "a test that cannot go on should say where")]

use std::fs;
use std::path::{Path, PathBuf};

use karute_tests::sample;

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(top().join(&path))
        .unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

#[test]
fn the_top_level_holds_only_what_the_house_has_rooms_for() {
    let allowed = [
        "Cargo.toml",
        "Cargo.lock",
        "engine",
        "server",
        "sync",
        "benches",
        "tests",
        "deploy",
        "README.md",
        "README.ja.md",
        "CHANGELOG.md",
        "SECURITY.md",
        "LICENSE-MIT",
        "LICENSE-APACHE",
        "target",
        "karute-data",
    ];
    for entry in fs::read_dir(top()).expect("the top level") {
        let name = entry.expect("an entry").file_name().into_string().expect("a plain name");
        assert!(
            name.starts_with('.') || allowed.contains(&name.as_str()),
            "{name} has no room at the top level"
        );
    }
}

#[test]
fn every_room_of_the_house_is_there() {
    for room in
        ["engine", "server", "sync", "benches", "tests", "deploy", "Cargo.toml", "Cargo.lock", "README.md"]
    {
        assert!(top().join(room).exists(), "{room} is missing");
    }
}

#[test]
fn arrows_go_from_server_to_sync_to_engine_only() {
    for (package, forbidden) in [
        ("engine", &["karute-sync", "karute-server", "tokio", "reqwest", "axum", "time", "tracing"][..]),
        ("sync", &["karute-server", "axum", "clap"][..]),
    ] {
        let manifest = read(format!("{package}/Cargo.toml"));
        let dependencies = manifest.split("[dev-dependencies]").next().unwrap_or_default();
        for name in forbidden {
            let line = format!("\n{name}.workspace");
            assert!(!dependencies.contains(&line), "{package} depends on {name}");
        }
    }
}

#[test]
fn only_one_room_of_the_engine_touches_the_file_system_and_none_the_clock_or_the_environment() {
    for path in rust_files(&top().join("engine/src")) {
        let code = fs::read_to_string(&path).expect("a source file");
        // What tests do is their own affair; the documentation's example cleans up behind itself.
        let code: String = code.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
        let code: Vec<&str> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        let code = code.join("\n");
        let storage = path.ends_with("storage.rs") || path.ends_with("map.rs");
        for word in ["std::fs", "SystemTime", "Instant::", "std::env", "std::net"] {
            assert!(!code.contains(word) || (storage && word == "std::fs"), "{} uses {word}", path.display());
        }
    }
}

#[test]
fn unsafe_code_lives_in_named_rooms() {
    for package in ["engine", "sync", "server", "tests", "benches"] {
        assert!(
            read(format!("{package}/Cargo.toml")).contains("[lints]\nworkspace = true"),
            "{package} has no lints"
        );
        for path in rust_files(&top().join(package)) {
            let lifts = fs::read_to_string(&path).expect("a source file").contains("allow(unsafe_code)");
            let rooms = ["snapshot/map.rs", "kernel/avx2.rs", "kernel/avx512.rs", "kernel/neon.rs"];
            let room = rooms.iter().any(|room| path.ends_with(Path::new("engine/src").join(room)))
                || path.ends_with("tests/house.rs");
            assert!(!lifts || room, "{} lifts the lint on unsafe code", path.display());
        }
    }
}

#[test]
fn the_sample_is_what_its_maker_makes() {
    let made = sample::workbook().expect("the hand-written files");
    let directory = top().join("sync/sample");
    let mut bytes = fs::metadata(directory.join("karute-sample.xlsx")).expect("the workbook").len();
    for sheet in &made {
        let path = directory.join("karute-sample").join(format!("{}.csv", sheet.name));
        let committed = fs::read(&path).expect("a sheet");
        bytes += committed.len() as u64;
        let same = committed == sample::csv_bytes(sheet).expect("CSV");
        assert!(same, "{} differs: cargo run -p karute-tests --bin make-sample", path.display());
    }
    assert!(bytes <= 5 << 20, "the sample has {bytes} bytes");
    assert_eq!(made[0].rows.len(), sample::ROWS);
}
