//! Drives a server with test vectors, and prints a line for each case whose answer is not as expected.

mod call;
mod manifest;
mod numbers;
mod refusal;
mod request;
mod verdict;

use anyhow::{Context, Result};
use clap::Parser;
use manifest::{Case, Manifest, Outcome};
use prost_reflect::ServiceDescriptor;
use qkv_example::v1::attention_service_client::AttentionServiceClient;
use qkv_example::Connection;
use safetensors::SafeTensors;
use std::{fs, path::Path, path::PathBuf, process::ExitCode, time::Duration};
use tonic::transport::Channel;

/// A safetensors file of nothing.
const NO_ARRAYS: &[u8] = b"\x02\0\0\0\0\0\0\0{}";

/// Drives a qkv server with test vectors
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    connection: Connection,
    /// The directory of manifest.json
    #[arg(long)]
    vectors: PathBuf,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let client = arguments.connection.attention()?;
    let service = call::service();
    let cases = Manifest::read(&arguments.vectors)?.cases;

    let mut failed = 0;
    for case in &cases {
        if let Err(why) = run(case, &arguments.vectors, &service, client.clone()).await {
            println!("{}: {why:#}", case.name);
            failed += 1;
        }
    }
    println!("rust: {} passed, {failed} failed", cases.len() - failed);
    Ok(if failed == 0 && !cases.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn run(
    case: &Case,
    vectors: &Path,
    service: &ServiceDescriptor,
    client: AttentionServiceClient<Channel>,
) -> Result<()> {
    let bytes = match &case.file {
        Some(file) => fs::read(vectors.join(file)).with_context(|| format!("cannot read {file}"))?,
        None => NO_ARRAYS.to_vec(),
    };
    let arrays = SafeTensors::deserialize(&bytes)?;
    let method = call::method(service, &case.method)?;
    let request = request::build(case, method.input(), &arrays)?;
    let timeout = Duration::try_from_secs_f64(case.timeout_seconds)?;
    let result = call::call(client, &method, &request, timeout).await?;
    match &case.outcome {
        Outcome::Expected(answer) => verdict::of_answer(result, answer, &arrays),
        Outcome::Error(refusal) => verdict::of_refusal(result, refusal),
    }
}
