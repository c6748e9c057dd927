//! Data sets that are generated when they are first asked for.

use std::{fs, path::Path};

use anyhow::{Result, ensure};

use super::{python, results};
use crate::{IndexArgs, run::run};

const SCRIPT: &str = include_str!("../../data/generate.py");
/// Written last: the script and its options that made a folder.
const RECIPE: &str = "recipe.txt";

/// A data set of this name, made unless the same script made it with the same options.
pub(super) fn generated(args: &IndexArgs, name: &str, options: &[&str]) -> Result<String> {
    let folder = results().join("data").join(name);
    let recipe = recipe(options);
    if !is_made_by(&folder, &recipe) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/generate.py");
        let (python, script) = (python(args)?, script.display().to_string());
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        let out = folder.display().to_string();
        run(&python, &[&[script.as_str(), out.as_str()], options].concat())?;
        ensure!(folder.join("gt.npz").exists(), "{script} made no answers");
        fs::write(folder.join(RECIPE), recipe)?;
    }
    Ok(folder.canonicalize()?.display().to_string())
}

fn recipe(options: &[&str]) -> String {
    format!("{}\n\n{SCRIPT}", options.join(" "))
}

fn is_made_by(folder: &Path, recipe: &str) -> bool {
    fs::read_to_string(folder.join(RECIPE)).is_ok_and(|text| text == recipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_options_make_another_data_set() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        assert!(!is_made_by(path, &recipe(&["--rows", "7"])));
        fs::write(path.join(RECIPE), recipe(&["--rows", "7"])).unwrap();
        assert!(is_made_by(path, &recipe(&["--rows", "7"])));
        assert!(!is_made_by(path, &recipe(&["--rows", "8"])));
    }
}
