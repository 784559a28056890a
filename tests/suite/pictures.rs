//! The pictures in the README show what the program says.

use std::process::Command;

#[test]
fn pictures_show_what_the_program_says() {
    let checked = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/pictures.sh"))
        .arg("check")
        .env("TAOS_SETUP", env!("CARGO_BIN_EXE_taos-setup"))
        .env("TAOS_HOST_PLAIN", "1")
        .output()
        .expect("running scripts/pictures.sh");
    let words = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{words}");
}
