package main

import (
	"math"
	"testing"

	qkvv1 "example.com/qkv/gen/qkv/v1"
)

// Half-precision numbers have the values that IEEE 754 and the formats' descriptions give them.
func TestWidening(t *testing.T) {
	for _, test := range []struct {
		name  string
		widen func(uint16) float64
		bits  uint16
		want  float64
	}{
		{"float16 one", widenFloat16, 0x3c00, 1},
		{"float16 minus two", widenFloat16, 0xc000, -2},
		{"float16 nearest to a third", widenFloat16, 0x3555, 0.333251953125},
		{"float16 largest", widenFloat16, 0x7bff, 65504},
		{"float16 smallest normal", widenFloat16, 0x0400, math.Ldexp(1, -14)},
		{"float16 largest subnormal", widenFloat16, 0x03ff, math.Ldexp(1023, -24)},
		{"float16 smallest subnormal", widenFloat16, 0x8001, -math.Ldexp(1, -24)},
		{"float16 minus zero", widenFloat16, 0x8000, math.Copysign(0, -1)},
		{"float16 infinity", widenFloat16, 0x7c00, math.Inf(1)},
		{"float16 minus infinity", widenFloat16, 0xfc00, math.Inf(-1)},
		{"float16 NaN", widenFloat16, 0x7e01, math.NaN()},
		{"bfloat16 one", widenBfloat16, 0x3f80, 1},
		{"bfloat16 minus two", widenBfloat16, 0xc000, -2},
		{"bfloat16 nearest to pi", widenBfloat16, 0x4049, 3.140625},
		{"bfloat16 smallest normal", widenBfloat16, 0x0080, math.Ldexp(1, -126)},
		{"bfloat16 smallest subnormal", widenBfloat16, 0x0001, math.Ldexp(1, -133)},
		{"bfloat16 minus infinity", widenBfloat16, 0xff80, math.Inf(-1)},
		{"bfloat16 NaN", widenBfloat16, 0x7fc0, math.NaN()},
	} {
		got := test.widen(test.bits)
		same := got == test.want && math.Signbit(got) == math.Signbit(test.want)
		if !same && !(math.IsNaN(got) && math.IsNaN(test.want)) {
			t.Errorf("%s: got %v, want %v", test.name, got, test.want)
		}
	}
}

// The bytes of every type are read as little-endian.
func TestFloat64s(t *testing.T) {
	for dataType, data := range map[qkvv1.DataType]string{
		qkvv1.DataType_DATA_TYPE_FLOAT64:  "\x00\x00\x00\x00\x00\x00\xf0\xbf",
		qkvv1.DataType_DATA_TYPE_FLOAT32:  "\x00\x00\x80\xbf",
		qkvv1.DataType_DATA_TYPE_FLOAT16:  "\x00\xbc",
		qkvv1.DataType_DATA_TYPE_BFLOAT16: "\x80\xbf",
		qkvv1.DataType_DATA_TYPE_INT64:    "\xff\xff\xff\xff\xff\xff\xff\xff",
		qkvv1.DataType_DATA_TYPE_INT32:    "\xff\xff\xff\xff",
		qkvv1.DataType_DATA_TYPE_INT8:     "\xff",
	} {
		values, err := float64s(&qkvv1.Tensor{DataType: dataType, Shape: []int64{1}, Data: []byte(data)})
		if err != nil || values[0] != -1 {
			t.Errorf("%s: got %v, %v, want -1", dataType, values, err)
		}
	}
	for _, dataType := range []qkvv1.DataType{qkvv1.DataType_DATA_TYPE_BOOL, qkvv1.DataType_DATA_TYPE_UINT8} {
		values, err := float64s(&qkvv1.Tensor{DataType: dataType, Data: []byte{1}})
		if err != nil || values[0] != 1 {
			t.Errorf("%s: got %v, %v, want 1", dataType, values, err)
		}
	}
}

// A tensor whose bytes are not those of its shape, or whose type is unknown, is an error.
func TestFloat64sRefuses(t *testing.T) {
	for _, tensor := range []*qkvv1.Tensor{
		{DataType: qkvv1.DataType_DATA_TYPE_FLOAT32, Shape: []int64{2}, Data: make([]byte, 7)},
		{DataType: qkvv1.DataType_DATA_TYPE_UNSPECIFIED, Shape: []int64{1}, Data: make([]byte, 1)},
		nil,
	} {
		if values, err := float64s(tensor); err == nil {
			t.Errorf("%v: got %v, want an error", tensor, values)
		}
	}
}
