//! The contract of qkv in Rust, and what a client adds to it: how to connect, deadlines, refusals, arrays as tensors.

mod connection;
mod deadline;
mod refusal;
mod tensor;

pub use connection::Connection;
pub use deadline::deadline_exceeded;
pub use refusal::print_refusal;

/// Package `qkv.v1`, generated from `protos/` by `build.rs`.
pub mod v1 {
    tonic::include_proto!("qkv.v1");

    /// The same contract as descriptors, for programs that work by reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
}
