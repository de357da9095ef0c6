//! Asks qkv for self-attention on "I love bears", with two heads, and prints the new embeddings.

use anyhow::{Context, Result};
use clap::Parser;
use qkv_example::v1::{AttentionRequest, MultiHead, Scoring, Tensor};
use qkv_example::{deadline_exceeded, print_refusal, Connection};
use std::{process::ExitCode, time::Duration};
use tonic::Request;

const WORDS: [&str; 3] = ["I", "love", "bears"];
#[rustfmt::skip]
const EMBEDDINGS: [[f32; 4]; 3] = [
    [0.5, 0.8, 0.2, 0.6],
    [0.7, 0.1, 0.9, 0.3],
    [0.4, 0.6, 0.3, 0.8],
];

/// Self-attention on "I love bears", computed by a qkv server
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    connection: Connection,
    /// Seconds until the call is given up
    #[arg(long, env = "QKV_TIMEOUT", default_value_t = 60.0)]
    timeout: f64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let mut client = arguments.connection.attention()?;

    let mut request = Request::new(question());
    // The deadline goes with the call: the server stops computing too when it has passed.
    request.set_timeout(Duration::try_from_secs_f64(arguments.timeout)?);

    match client.attend(request).await.map_err(deadline_exceeded) {
        Ok(response) => {
            let output: Option<Tensor> = response.into_inner().output.and_then(Into::into);
            print_table(&output.context("the answer is not a tensor")?)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(status) => {
            print_refusal(&status);
            Ok(ExitCode::FAILURE)
        }
    }
}

fn question() -> AttentionRequest {
    AttentionRequest {
        // (L, H·D) = (3, 2·2). Key and value are left unset: they are the query.
        query: Some(Tensor::from_f32(&[3, 4], EMBEDDINGS.as_flattened()).into()),
        multi_head: Some(MultiHead { heads: 2, ..Default::default() }),
        scoring: Some(Scoring { scale: Some(1.0), ..Default::default() }),
        // The version that this program was written for, so that a newer server answers the same.
        semantics_version: 1,
        ..Default::default()
    }
}

fn print_table(output: &Tensor) -> Result<()> {
    let values = output.to_f32().context("the answer is not float32")?;
    for (word, row) in WORDS.iter().zip(values.chunks(EMBEDDINGS[0].len())) {
        let cells: String = row.iter().map(|value| format!("{value:10.6}")).collect();
        println!("{word:<5}{cells}");
    }
    Ok(())
}
