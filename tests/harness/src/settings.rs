//! Does a process refuse the settings that it cannot run with, also while it only prints them?

use std::process::{Command, Output};

/// What a role's binary prints of its configuration, with nothing but these arguments and variables.
///
/// # Panics
/// If it cannot be started.
pub fn print_config(binary: &str, args: &[&str], env: &[(&str, &str)]) -> Output {
    Command::new(binary)
        .args(["--print-config", "--cluster-secret", "sixteen bytes and more"])
        .args(args)
        .env_clear()
        .envs(env.iter().copied())
        .output()
        .expect("the binary starts")
}

/// Checks that a value which a start refuses is printed, refused by name and with code 2, and that without it the
/// configuration `needed` is fine.
///
/// # Panics
/// If it is not so.
pub fn refuses_what_it_prints(binary: &str, needed: &[&str], key: &str, value: &str) {
    let flag = format!("--{}", key.replace(['.', '_'], "-"));
    let name = key.rsplit('.').next().unwrap_or(key);
    let output = print_config(binary, &[needed, &[&flag, value]].concat(), &[]);
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert_eq!(output.status.code(), Some(2), "{err}");
    assert!(
        out.contains(&format!("{name} = {value:?} # flag {flag}")),
        "{out}"
    );
    assert!(err.starts_with(&format!("error: {key}")), "{err}");

    let output = print_config(binary, needed, &[]);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
