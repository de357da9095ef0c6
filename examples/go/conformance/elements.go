package main

import (
	"encoding/binary"
	"fmt"
	"math"

	qkvv1 "example.com/qkv/gen/qkv/v1"
)

// element is a type of the elements of a tensor.
type element struct {
	name     string // in safetensors
	dataType qkvv1.DataType
	width    int                  // bytes
	widen    func([]byte) float64 // the value of so many bytes, little-endian
}

var elements = []element{
	{"F64", qkvv1.DataType_DATA_TYPE_FLOAT64, 8, func(b []byte) float64 {
		return math.Float64frombits(binary.LittleEndian.Uint64(b))
	}},
	{"F32", qkvv1.DataType_DATA_TYPE_FLOAT32, 4, func(b []byte) float64 {
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))
	}},
	{"F16", qkvv1.DataType_DATA_TYPE_FLOAT16, 2, func(b []byte) float64 {
		return widenFloat16(binary.LittleEndian.Uint16(b))
	}},
	{"BF16", qkvv1.DataType_DATA_TYPE_BFLOAT16, 2, func(b []byte) float64 {
		return widenBfloat16(binary.LittleEndian.Uint16(b))
	}},
	{"BOOL", qkvv1.DataType_DATA_TYPE_BOOL, 1, func(b []byte) float64 {
		return float64(b[0])
	}},
	{"I64", qkvv1.DataType_DATA_TYPE_INT64, 8, func(b []byte) float64 {
		return float64(int64(binary.LittleEndian.Uint64(b)))
	}},
	{"I32", qkvv1.DataType_DATA_TYPE_INT32, 4, func(b []byte) float64 {
		return float64(int32(binary.LittleEndian.Uint32(b)))
	}},
	{"I8", qkvv1.DataType_DATA_TYPE_INT8, 1, func(b []byte) float64 {
		return float64(int8(b[0]))
	}},
	{"U8", qkvv1.DataType_DATA_TYPE_UINT8, 1, func(b []byte) float64 {
		return float64(b[0])
	}},
}

func elementNamed(name string) (element, error) {
	for _, element := range elements {
		if element.name == name {
			return element, nil
		}
	}
	return element{}, fmt.Errorf("dtype %q is unknown", name)
}

// float64s widens every element of a tensor. It is an error if there are not as many as its shape says.
func float64s(tensor *qkvv1.Tensor) ([]float64, error) {
	for _, element := range elements {
		if element.dataType != tensor.GetDataType() {
			continue
		}
		data, width := tensor.GetData(), element.width
		count := product(tensor.GetShape())
		if int64(len(data)) != count*int64(width) {
			return nil, fmt.Errorf("%d bytes for shape %v of %s", len(data), tensor.GetShape(), tensor.GetDataType())
		}
		values := make([]float64, count)
		for i := range values {
			values[i] = element.widen(data[i*width : (i+1)*width])
		}
		return values, nil
	}
	return nil, fmt.Errorf("a tensor of %s", tensor.GetDataType())
}

// product is the number of elements of a shape.
func product(shape []int64) int64 {
	count := int64(1)
	for _, length := range shape {
		count *= length
	}
	return count
}

// widenFloat16 is the value of an IEEE 754 binary16: 1 sign, 5 exponent and 10 fraction bits.
func widenFloat16(bits uint16) float64 {
	exponent, fraction := int(bits>>10&0x1f), float64(bits&0x3ff)
	var magnitude float64
	switch {
	case exponent == 0x1f && fraction == 0:
		magnitude = math.Inf(1)
	case exponent == 0x1f:
		magnitude = math.NaN()
	case exponent == 0: // subnormal: no leading one
		magnitude = math.Ldexp(fraction, -24)
	default:
		magnitude = math.Ldexp(1024+fraction, exponent-25)
	}
	if bits>>15 == 1 {
		return -magnitude
	}
	return magnitude
}

// widenBfloat16 is the value of the upper half of a binary32.
func widenBfloat16(bits uint16) float64 {
	return float64(math.Float32frombits(uint32(bits) << 16))
}
