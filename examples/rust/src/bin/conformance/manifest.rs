//! A suite of test vectors on disk: what manifest.json says.

use crate::refusal::Refusal;
use anyhow::{ensure, Context, Result};
use serde::Deserialize;
use serde_json::Value;
use std::{collections::BTreeMap, fs, path::Path};

/// The format that this runner reads.
const FORMAT: u64 = 1;

#[derive(Deserialize)]
pub struct Manifest {
    pub cases: Vec<Case>,
}

/// One call, and what it must come to.
#[derive(Deserialize)]
pub struct Case {
    pub name: String,
    pub method: String,
    /// The request in proto3 JSON, without the tensors.
    pub request: Value,
    pub file: Option<String>,
    /// Path of each tensor in the request -> name of the array in the file.
    #[serde(default)]
    pub inputs: BTreeMap<String, String>,
    #[serde(flatten)]
    pub outcome: Outcome,
    #[serde(default = "default_timeout")]
    pub timeout_seconds: f64,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// By field of the response.
    Expected(BTreeMap<String, Array>),
    Error(Refusal),
}

/// The form and the numbers that an operand of the answer must have.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Array {
    /// Name of the expected values in the file, float64.
    pub tensor: String,
    /// None for a matrix.
    pub data_type: Option<String>,
    #[serde(default)]
    pub matrix: bool,
    pub shape: Vec<i64>,
    pub absolute: f64,
    pub relative: f64,
}

fn default_timeout() -> f64 {
    30.0
}

impl Manifest {
    pub fn read(vectors: &Path) -> Result<Self> {
        let path = vectors.join("manifest.json");
        let read = || -> Result<Self> {
            let manifest: Value = serde_json::from_slice(&fs::read(&path)?)?;
            let format = &manifest["format"];
            ensure!(*format == FORMAT, "format {format}; this runner reads format {FORMAT}");
            Ok(serde_json::from_value(manifest)?)
        };
        read().with_context(|| path.display().to_string())
    }
}
