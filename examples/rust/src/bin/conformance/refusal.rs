//! How a call fails: as a case expects it, or as a status says it.

use anyhow::Result;
use serde::Deserialize;
use std::collections::BTreeSet;
use tonic::{Code, Status};
use tonic_types::StatusExt;

#[derive(Debug, PartialEq, Deserialize)]
pub struct Refusal {
    pub code: String,
    /// None: there are no details.
    pub reason: Option<String>,
    /// The wrong fields.
    #[serde(default)]
    pub fields: BTreeSet<String>,
}

impl Refusal {
    pub fn of(status: &Status) -> Result<Self> {
        let details = status.check_error_details()?;
        let violations = details.bad_request().map_or(&[][..], |request| &request.field_violations);
        Ok(Refusal {
            code: name(status.code()),
            reason: details.error_info().map(|info| info.reason.clone()),
            fields: violations.iter().map(|violation| violation.field.clone()).collect(),
        })
    }
}

/// DEADLINE_EXCEEDED, as gRPC names what tonic names DeadlineExceeded.
fn name(code: Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}
