//! Calls by the name of the method, through the generated client.

use anyhow::{bail, Context, Result};
use prost_reflect::prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor, ServiceDescriptor};
use qkv_example::v1::attention_service_client::AttentionServiceClient;
use qkv_example::{deadline_exceeded, v1::DESCRIPTORS};
use std::time::Duration;
use tonic::{transport::Channel, Request, Response, Status};

/// The service as the contract describes it.
pub fn service() -> ServiceDescriptor {
    DescriptorPool::decode(DESCRIPTORS)
        .expect("build.rs writes descriptors")
        .get_service_by_name("qkv.v1.AttentionService")
        .expect("the contract has this service")
}

pub fn method(service: &ServiceDescriptor, name: &str) -> Result<MethodDescriptor> {
    service.methods().find(|method| method.name() == name).with_context(|| format!("no method {name}"))
}

/// The answer of the server, or its status.
pub async fn call(
    mut client: AttentionServiceClient<Channel>,
    method: &MethodDescriptor,
    message: &DynamicMessage,
    timeout: Duration,
) -> Result<Result<DynamicMessage, Status>> {
    match method.name() {
        "Attend" => dynamic(client.attend(typed(message, timeout)?).await, method),
        "Differentiate" => dynamic(client.differentiate(typed(message, timeout)?).await, method),
        "Merge" => dynamic(client.merge(typed(message, timeout)?).await, method),
        other => bail!("this runner does not call {other}"),
    }
}

fn typed<M: Message + Default>(message: &DynamicMessage, timeout: Duration) -> Result<Request<M>> {
    let mut request = Request::new(message.transcode_to()?);
    request.set_timeout(timeout);
    Ok(request)
}

fn dynamic<M: Message>(
    result: Result<Response<M>, Status>,
    method: &MethodDescriptor,
) -> Result<Result<DynamicMessage, Status>> {
    let response = match result {
        Ok(response) => response.into_inner(),
        Err(status) => return Ok(Err(deadline_exceeded(status))),
    };
    let mut message = DynamicMessage::new(method.output());
    message.transcode_from(&response)?;
    Ok(Ok(message))
}
