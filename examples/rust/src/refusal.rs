//! A failed call, for people.

use anyhow::Chain;
use tonic::Status;
use tonic_types::StatusExt;

/// What the server says about a failed call (AIP-193): the reason, every wrong field, when to come back.
pub fn print_refusal(status: &Status) {
    eprintln!("{:?}: {}", status.code(), status.message());
    // Only what failed on this side, such as connecting, has causes; the last is the first to have failed.
    if let Some(cause) = Chain::new(status).skip(1).last() {
        eprintln!("cause: {cause}");
    }
    let details = status.get_error_details();
    if let Some(info) = details.error_info() {
        eprintln!("reason: {}", info.reason);
    }
    for violation in details.bad_request().iter().flat_map(|request| &request.field_violations) {
        eprintln!("{}: {}", violation.field, violation.description);
    }
    if let Some(delay) = details.retry_info().and_then(|retry| retry.retry_delay) {
        eprintln!("retry after {delay:?}");
    }
}
