//! From a case to its request: proto3 JSON, and tensors put where their paths say.

use crate::manifest::Case;
use anyhow::{bail, Context, Result};
use prost_reflect::{DynamicMessage, Kind, MessageDescriptor, ReflectMessage, Value};
use qkv_example::v1::{DataType, Operand, Tensor};
use safetensors::{tensor::TensorView, Dtype, SafeTensors};

pub fn build(case: &Case, descriptor: MessageDescriptor, arrays: &SafeTensors) -> Result<DynamicMessage> {
    let mut request = DynamicMessage::deserialize(descriptor, &case.request)?;
    for (path, name) in &case.inputs {
        let operand = operand(arrays.tensor(name)?)?;
        let names: Vec<&str> = path.split('.').collect();
        message_at(&mut request, &names).with_context(|| format!("no field {path}"))?.transcode_from(&operand)?;
    }
    Ok(request)
}

/// The message at a path, made if it is not there yet.
fn message_at<'a>(message: &'a mut DynamicMessage, path: &[&str]) -> Option<&'a mut DynamicMessage> {
    let [name, rest @ ..] = path else {
        return Some(message);
    };
    let field = message.descriptor().get_field_by_name(name)?;
    match (message.get_field_mut(&field), rest) {
        (Value::Message(inner), rest) => message_at(inner, rest),
        (Value::List(elements), [index, rest @ ..]) => {
            let Kind::Message(element) = field.kind() else {
                return None;
            };
            let index: usize = index.parse().ok()?;
            while elements.len() <= index {
                elements.push(Value::Message(DynamicMessage::new(element.clone())));
            }
            message_at(elements[index].as_message_mut()?, rest)
        }
        _ => None,
    }
}

/// safetensors stores what the contract wants: little-endian, row-major, without padding.
fn operand(array: TensorView) -> Result<Operand> {
    let data_type = match array.dtype() {
        Dtype::F64 => DataType::Float64,
        Dtype::F32 => DataType::Float32,
        Dtype::F16 => DataType::Float16,
        Dtype::BF16 => DataType::Bfloat16,
        Dtype::BOOL => DataType::Bool,
        Dtype::I64 => DataType::Int64,
        Dtype::I32 => DataType::Int32,
        Dtype::I8 => DataType::Int8,
        Dtype::U8 => DataType::Uint8,
        other => bail!("the contract has no type {other:?}"),
    };
    let tensor = Tensor {
        data_type: data_type.into(),
        shape: array.shape().iter().map(|&length| length as i64).collect(),
        data: array.data().to_vec(),
    };
    Ok(tensor.into())
}
