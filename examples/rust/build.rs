//! Compiles the contract: clients and messages for Rust, and its descriptors for reflection.

use prost::Message;
use std::{env, error::Error, fs, path::Path};

const PROTOS: &str = "../../protos";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={PROTOS}");
    // protox is a protoc in Rust, so that nothing need be installed.
    let contract = protox::compile(["qkv/v1/attention.proto", "qkv/v1/models.proto"], [PROTOS])?;
    let descriptors = Path::new(&env::var("OUT_DIR")?).join("descriptors.bin");
    fs::write(descriptors, contract.encode_to_vec())?;
    tonic_prost_build::configure().build_server(false).compile_fds(contract)?;
    Ok(())
}
