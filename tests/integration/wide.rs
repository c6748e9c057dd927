//! Vectors of 64-bit floats from a file to an answer, as a user has them: nothing on the way rounds them to 32 bits.

use std::{fs, path::Path};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::shared::{longbow, small_cluster};

/// Where 32-bit floats are 64 apart.
const FAR: f64 = 1e9;
const STEP: f64 = 0.25;
const ROWS: usize = 2_000;

/// A NumPy file of version 1: a matrix of 64-bit floats.
fn write_npy(path: &Path, rows: &[[f64; 2]]) {
    let mut header = format!(
        "{{'descr': '<f8', 'fortran_order': False, 'shape': ({}, 2), }}",
        rows.len()
    );
    while !(header.len() + 11).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.bytes());
    file.extend(rows.as_flattened().iter().flat_map(|x| x.to_le_bytes()));
    fs::write(path, file).unwrap();
}

#[test]
fn vectors_of_64_bits_are_stored_compared_and_answered_as_such() {
    let (cluster, folder) = (small_cluster(), TempDir::new().unwrap());
    let file = folder.path().join("wide.npy");
    let rows: Vec<[f64; 2]> = (0..ROWS).map(|row| [FAR + row as f64 * STEP, 1.0]).collect();
    write_npy(&file, &rows);
    let file = file.display().to_string();
    let import = ["import", "-d", "wide", "--create", "--metric", "l2"];
    longbow(
        &cluster,
        &[&import[..], &["--quantization", "none", &file]].concat(),
    );
    let near = format!("{},1", FAR + 700.0 * STEP + 0.01);
    let search = ["search", "wide", "-k", "3", "--include-vector", "--vector", &near];
    for exact in [&["--exact"][..], &[]] {
        let found = longbow(&cluster, &[&search[..], exact].concat());
        let hits = found["hits"].as_array().unwrap();
        let ids: Vec<&Value> = hits.iter().map(|hit| &hit["id"]).collect();
        assert_eq!(ids, [&json!(700), &json!(701), &json!(699)], "{found}");
        for (hit, distance) in hits.iter().zip([0.0001, 0.0576, 0.0676]) {
            let got = hit["distance"].as_f64().unwrap();
            // What is left of the query's own rounding at this size.
            assert!((got - distance).abs() < 1e-6, "{found}");
        }
        assert_eq!(hits[0]["vector"], json!([FAR + 700.0 * STEP, 1.0]), "{found}");
    }
}
