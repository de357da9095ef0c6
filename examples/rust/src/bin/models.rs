//! Asks qkv for its models, for the vectors of two texts, and for an answer that comes in pieces.

use anyhow::{Context, Result};
use clap::Parser;
use qkv_example::v1::model_service_client::ModelServiceClient;
use qkv_example::v1::{generate_request::Input, Chat, EmbedRequest, GenerateRequest, ListModelsRequest, Message};
use qkv_example::{deadline_exceeded, print_refusal, Connection};
use std::io::{stdout, Write};
use std::{process::ExitCode, time::Duration};
use tonic::{transport::Channel, Request, Status};

const TEXTS: [&str; 2] = ["I love bears", "Bears are adorable"];
const QUESTION: &str = "What do bears eat?";

/// The models of a qkv server, the vectors of two texts, and an answer that comes in pieces
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    connection: Connection,
    /// Seconds until a call is given up
    #[arg(long, env = "QKV_TIMEOUT", default_value_t = 60.0)]
    timeout: f64,
    /// The model that embeds, where there are several
    #[arg(long, default_value = "")]
    embed_model: String,
    /// The model that chats, where there are several
    #[arg(long, default_value = "")]
    chat_model: String,
    /// Print the vectors, too
    #[arg(long)]
    vectors: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    match run(&arguments, arguments.connection.models()?).await {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => match error.downcast::<Status>() {
            Ok(status) => {
                print_refusal(&deadline_exceeded(status));
                Ok(ExitCode::FAILURE)
            }
            Err(error) => Err(error),
        },
    }
}

async fn run(arguments: &Arguments, mut client: ModelServiceClient<Channel>) -> Result<()> {
    let timeout = Duration::try_from_secs_f64(arguments.timeout)?;
    list(&mut client, timeout).await?;
    compare(&mut client, timeout, &arguments.embed_model, arguments.vectors).await?;
    chat(&mut client, timeout, &arguments.chat_model).await
}

/// The deadline goes with the call: the server stops working too when it has passed.
fn within<M>(timeout: Duration, message: M) -> Request<M> {
    let mut request = Request::new(message);
    request.set_timeout(timeout);
    request
}

/// Prints the models, and what each can be asked for or why it cannot be used.
async fn list(client: &mut ModelServiceClient<Channel>, timeout: Duration) -> Result<()> {
    let response = client.list_models(within(timeout, ListModelsRequest {})).await?.into_inner();
    for model in response.models {
        let tasks: Vec<&str> = model.tasks().map(|task| task.as_str_name()).collect();
        println!("{}: {} [{}] {}", model.name, model.state().as_str_name(), tasks.join(", "), model.reason);
    }
    Ok(())
}

/// Prints how alike the texts are: the cosine of the angle between their vectors.
async fn compare(
    client: &mut ModelServiceClient<Channel>,
    timeout: Duration,
    model: &str,
    vectors: bool,
) -> Result<()> {
    let request =
        EmbedRequest { model: model.to_owned(), texts: TEXTS.map(str::to_owned).to_vec(), ..Default::default() };
    let response = client.embed(within(timeout, request)).await?.into_inner();
    // (texts, D), row after row.
    let values = response.embeddings.and_then(|tensor| tensor.to_f32()).context("the answer is not float32")?;
    let (first, second) = values.split_at(values.len() / TEXTS.len());
    if vectors {
        println!("vectors: {values:?}");
    }
    println!("{}: cosine of {:?} and {:?}: {:.6}", response.model, TEXTS[0], TEXTS[1], cosine(first, second));
    Ok(())
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// Asks a question and prints the answer piece by piece, as it comes.
async fn chat(client: &mut ModelServiceClient<Channel>, timeout: Duration, model: &str) -> Result<()> {
    let messages = vec![Message { role: "user".to_owned(), content: QUESTION.to_owned() }];
    let request = GenerateRequest {
        model: model.to_owned(),
        input: Some(Input::Chat(Chat { messages })),
        max_tokens: 40,
        ..Default::default()
    };
    println!("{QUESTION}");
    // To break off, drop the pieces: the server stops working on the answer.
    let mut pieces = client.generate(within(timeout, request)).await?.into_inner();
    while let Some(piece) = pieces.message().await? {
        print!("{}", piece.text);
        stdout().flush()?;
        // The last piece.
        if let Some(usage) = &piece.usage {
            let reason = piece.finish_reason().as_str_name();
            println!("\n{}: {reason} after {} tokens", piece.model, usage.output_tokens);
        }
    }
    Ok(())
}
