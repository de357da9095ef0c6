//! Whether a call came to what its case expects; if not, why.

use crate::{manifest::Array, numbers::widen, refusal::Refusal};
use anyhow::{anyhow, bail, ensure, Context, Result};
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, ReflectMessage};
use qkv_example::v1::{operand::Source, DataType, Operand};
use safetensors::SafeTensors;
use std::collections::{BTreeMap, BTreeSet};
use tonic::Status;

/// Exactly the operands that are expected are there, each of its form, type and shape, and with its numbers.
pub fn of_answer(
    result: Result<DynamicMessage, Status>,
    expected: &BTreeMap<String, Array>,
    arrays: &SafeTensors,
) -> Result<()> {
    let response = result.map_err(|status| anyhow!("{:?}: {}", status.code(), status.message()))?;
    let present: BTreeSet<String> = response
        .descriptor()
        .fields()
        .filter(|field| is_operand(field) && response.has_field(field))
        .map(|field| field.name().to_owned())
        .collect();
    let wanted: BTreeSet<String> = expected.keys().cloned().collect();
    ensure!(present == wanted, "the answer has {present:?}, expected {wanted:?}");
    for (field, array) in expected {
        let values = widen(DataType::Float64, arrays.tensor(&array.tensor)?.data())?;
        operand(&response, field)
            .and_then(|operand| check_operand(operand, array, &values))
            .with_context(|| field.clone())?;
    }
    Ok(())
}

/// The call failed with the status, the reason and the wrong fields that are expected.
pub fn of_refusal(result: Result<DynamicMessage, Status>, expected: &Refusal) -> Result<()> {
    let Err(status) = result else { bail!("answered, expected {expected:?}") };
    let refusal = Refusal::of(&status)?;
    ensure!(refusal == *expected, "{refusal:?}, expected {expected:?}: {}", status.message());
    Ok(())
}

fn is_operand(field: &FieldDescriptor) -> bool {
    matches!(field.kind(), Kind::Message(message) if message.full_name() == "qkv.v1.Operand")
}

fn operand(response: &DynamicMessage, field: &str) -> Result<Operand> {
    let value = response.get_field_by_name(field).context("no such field")?;
    Ok(value.as_message().context("no operand")?.transcode_to()?)
}

fn check_operand(operand: Operand, expected: &Array, values: &[f64]) -> Result<()> {
    let (data_type, shape, answer) = match operand.source.context("no source")? {
        Source::Matrix(matrix) => (None, vec![matrix.rows, matrix.columns], matrix.values),
        Source::Tensor(tensor) => {
            let data_type = tensor.data_type();
            (Some(data_type.as_str_name()), tensor.shape, widen(data_type, &tensor.data)?)
        }
    };
    ensure!(
        data_type == expected.data_type.as_deref() && data_type.is_none() == expected.matrix,
        "{}, expected {}",
        data_type.unwrap_or("a matrix"),
        expected.data_type.as_deref().unwrap_or("a matrix"),
    );
    ensure!(shape == expected.shape, "shape {shape:?}, expected {:?}", expected.shape);
    ensure!(answer.len() as i64 == shape.iter().product::<i64>(), "{} elements for shape {shape:?}", answer.len());
    check_values(&answer, expected, values)
}

fn check_values(answer: &[f64], expected: &Array, values: &[f64]) -> Result<()> {
    ensure!(answer.len() == values.len(), "{} elements, expected {}", answer.len(), values.len());
    let is_near = |got: f64, want: f64| match (got.is_finite(), want.is_finite()) {
        (true, true) => (got - want).abs() <= expected.absolute + expected.relative * want.abs(),
        _ => got == want || got.is_nan() && want.is_nan(),
    };
    let wrong: Vec<usize> = (0..values.len()).filter(|&index| !is_near(answer[index], values[index])).collect();
    if let [first, ..] = wrong[..] {
        bail!(
            "{} of {} elements are off; element {first} is {}, expected {} (absolute {}, relative {})",
            wrong.len(),
            values.len(),
            answer[first],
            values[first],
            expected.absolute,
            expected.relative,
        );
    }
    Ok(())
}
