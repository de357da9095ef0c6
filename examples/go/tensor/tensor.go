// Package tensor is between slices of float32 and the tensors of the contract: C order, in which the last axis varies
// fastest, and little-endian bytes on every machine.
package tensor

import (
	"encoding/binary"
	"fmt"
	"math"

	qkvv1 "example.com/qkv/gen/qkv/v1"
)

// Float32Operand makes an operand; there are as many values as the product of the shape.
func Float32Operand(shape []int64, values []float32) *qkvv1.Operand {
	data := make([]byte, 0, 4*len(values))
	for _, value := range values {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(value))
	}
	tensor := &qkvv1.Tensor{DataType: qkvv1.DataType_DATA_TYPE_FLOAT32, Shape: shape, Data: data}
	return &qkvv1.Operand{Source: &qkvv1.Operand_Tensor{Tensor: tensor}}
}

// Float32Values reads a tensor of an answer: to a float32 query, or vectors of a model.
func Float32Values(tensor *qkvv1.Tensor) ([]float32, error) {
	if tensor.GetDataType() != qkvv1.DataType_DATA_TYPE_FLOAT32 {
		return nil, fmt.Errorf("the answer is %s, expected a float32 tensor", tensor.GetDataType())
	}
	values := make([]float32, len(tensor.GetData())/4)
	_, err := binary.Decode(tensor.GetData(), binary.LittleEndian, values)
	return values, err
}
