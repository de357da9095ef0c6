package main

import (
	"encoding/binary"
	"fmt"
	"math"

	qkvv1 "example.com/qkv/gen/qkv/v1"
)

// float32Operand makes an operand of values in C order: the last axis varies fastest. The contract's bytes are
// little-endian on every machine.
func float32Operand(shape []int64, values []float32) *qkvv1.Operand {
	data := make([]byte, 0, 4*len(values))
	for _, value := range values {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(value))
	}
	tensor := &qkvv1.Tensor{DataType: qkvv1.DataType_DATA_TYPE_FLOAT32, Shape: shape, Data: data}
	return &qkvv1.Operand{Source: &qkvv1.Operand_Tensor{Tensor: tensor}}
}

// float32Values reads an answer to a float32 query, in C order.
func float32Values(operand *qkvv1.Operand) ([]float32, error) {
	tensor := operand.GetTensor()
	if tensor.GetDataType() != qkvv1.DataType_DATA_TYPE_FLOAT32 {
		return nil, fmt.Errorf("the answer is %s, expected a float32 tensor", tensor.GetDataType())
	}
	values := make([]float32, len(tensor.GetData())/4)
	_, err := binary.Decode(tensor.GetData(), binary.LittleEndian, values)
	return values, err
}
