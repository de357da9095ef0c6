//! Numbers of any floating type, widened to float64.

use anyhow::{bail, ensure, Result};
use half::{bf16, f16};
use qkv_example::v1::DataType;

/// The elements of row-major, little-endian bytes.
pub fn widen(data_type: DataType, bytes: &[u8]) -> Result<Vec<f64>> {
    match data_type {
        DataType::Float64 => elements(bytes, f64::from_le_bytes),
        DataType::Float32 => elements(bytes, |element| f32::from_le_bytes(element).into()),
        DataType::Float16 => elements(bytes, |element| f16::from_le_bytes(element).into()),
        DataType::Bfloat16 => elements(bytes, |element| bf16::from_le_bytes(element).into()),
        other => bail!("no answer is of type {}", other.as_str_name()),
    }
}

fn elements<const WIDTH: usize>(bytes: &[u8], widen: impl Fn([u8; WIDTH]) -> f64) -> Result<Vec<f64>> {
    let (elements, rest) = bytes.as_chunks();
    ensure!(rest.is_empty(), "{} bytes are no whole number of elements", bytes.len());
    Ok(elements.iter().map(|&element| widen(element)).collect())
}
