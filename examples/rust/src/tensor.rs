//! Arrays as the contract has them: row-major (the last axis varies fastest) and little-endian, whatever the machine.

use crate::v1::{operand::Source, DataType, Operand, Tensor};

impl Tensor {
    /// A float32 tensor; there are as many values as the product of the shape.
    pub fn from_f32(shape: &[i64], values: &[f32]) -> Self {
        Tensor {
            data_type: DataType::Float32.into(),
            shape: shape.to_vec(),
            data: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        }
    }

    /// The values of a float32 tensor; None if it is of another type.
    pub fn to_f32(&self) -> Option<Vec<f32>> {
        let (values, []) = self.data.as_chunks() else {
            return None;
        };
        (self.data_type() == DataType::Float32).then(|| values.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect())
    }
}

impl From<Tensor> for Operand {
    fn from(tensor: Tensor) -> Self {
        Operand { source: Some(Source::Tensor(tensor)) }
    }
}

impl From<Operand> for Option<Tensor> {
    fn from(operand: Operand) -> Self {
        match operand.source? {
            Source::Tensor(tensor) => Some(tensor),
            Source::Matrix(_) => None,
        }
    }
}
