//! What tonic makes of a deadline that has passed.

use anyhow::Chain;
use std::error::Error;
use tonic::{Status, TimeoutExpired};

/// DEADLINE_EXCEEDED, as every other gRPC library says, where tonic's own clock ended the call with CANCELLED.
pub fn deadline_exceeded(status: Status) -> Status {
    let expired = status.source().is_some_and(|source| Chain::new(source).any(|cause| cause.is::<TimeoutExpired>()));
    if expired {
        Status::deadline_exceeded(status.message())
    } else {
        status
    }
}
