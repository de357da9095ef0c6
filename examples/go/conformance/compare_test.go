package main

import (
	"encoding/binary"
	"errors"
	"math"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	qkvv1 "example.com/qkv/gen/qkv/v1"
)

func float64Tensor(shape []int64, values ...float64) *qkvv1.Tensor {
	data, err := binary.Append(nil, binary.LittleEndian, values)
	if err != nil {
		panic(err)
	}
	return &qkvv1.Tensor{DataType: qkvv1.DataType_DATA_TYPE_FLOAT64, Shape: shape, Data: data}
}

func tensorOperand(shape []int64, values ...float64) *qkvv1.Operand {
	return &qkvv1.Operand{Source: &qkvv1.Operand_Tensor{Tensor: float64Tensor(shape, values...)}}
}

func matrixOperand(rows, columns int64, values ...float64) *qkvv1.Operand {
	matrix := &qkvv1.Matrix{Rows: rows, Columns: columns, Values: values}
	return &qkvv1.Operand{Source: &qkvv1.Operand_Matrix{Matrix: matrix}}
}

// An answer passes exactly when its form, type, shape, elements and fields are the expected ones.
func TestCompareAnswer(t *testing.T) {
	shape := []int64{2}
	tensors := map[string]*qkvv1.Tensor{"numbers": float64Tensor(shape, 1, -4)}
	tensor := expected{
		Tensor: "numbers", DataType: "DATA_TYPE_FLOAT64", Shape: shape, Absolute: 0.125, Relative: 0.25,
	}
	matrix := expected{Tensor: "numbers", Matrix: true, Shape: []int64{1, 2}}
	narrow, absent := tensor, tensor
	narrow.DataType, absent.Tensor = "DATA_TYPE_FLOAT16", "none"
	right := tensorOperand(shape, 1, -4)

	type answer = qkvv1.AttentionResponse
	type wanted = map[string]expected
	for name, test := range map[string]struct {
		answer   *answer
		expected wanted
		passes   bool
	}{
		"equal":         {&answer{Output: right}, wanted{"output": tensor}, true},
		"at the limit":  {&answer{Output: tensorOperand(shape, 1.375, -2.875)}, wanted{"output": tensor}, true},
		"beyond it":     {&answer{Output: tensorOperand(shape, 1, -2.87)}, wanted{"output": tensor}, false},
		"another shape": {&answer{Output: tensorOperand([]int64{1, 2}, 1, -4)}, wanted{"output": tensor}, false},
		"another type":  {&answer{Output: right}, wanted{"output": narrow}, false},
		"a matrix":      {&answer{Output: matrixOperand(1, 2, 1, -4)}, wanted{"output": matrix}, true},
		"too few":       {&answer{Output: matrixOperand(1, 2, 1)}, wanted{"output": matrix}, false},
		"not a tensor":  {&answer{Output: matrixOperand(1, 2, 1, -4)}, wanted{"output": tensor}, false},
		"not a matrix":  {&answer{Output: tensorOperand([]int64{1, 2}, 1, -4)}, wanted{"output": matrix}, false},
		"no numbers":    {&answer{Output: &qkvv1.Operand{}}, wanted{"output": tensor}, false},
		"unset":         {&answer{}, wanted{"output": tensor}, false},
		"one too many":  {&answer{Output: right, Scores: right}, wanted{"output": tensor}, false},
		"two":           {&answer{Output: right, Scores: right}, wanted{"output": tensor, "scores": tensor}, true},
		"no such field": {&answer{Output: right}, wanted{"output": tensor, "outputs": tensor}, false},
		"no operand":    {&answer{Output: right, Report: &qkvv1.Report{}}, wanted{"output": tensor, "report": tensor}, false},
		"no such array": {&answer{Output: right}, wanted{"output": absent}, false},
	} {
		err := compareAnswer(test.answer.ProtoReflect(), test.expected, tensors)
		if (err == nil) != test.passes {
			t.Errorf("%s: got %v, passes should be %t", name, err, test.passes)
		}
	}
}

// NaN passes only for NaN, and an infinity only for itself.
func TestNear(t *testing.T) {
	nan, infinity := math.NaN(), math.Inf(1)
	for _, test := range []struct {
		got, want float64
		passes    bool
	}{
		{nan, nan, true}, {nan, 1, false}, {1, nan, false}, {nan, infinity, false},
		{infinity, infinity, true}, {-infinity, infinity, false}, {infinity, 1, false}, {1, infinity, false},
	} {
		if near(test.got, test.want, 1) != test.passes {
			t.Errorf("%v for %v: passes should be %t", test.got, test.want, test.passes)
		}
	}
}

// A refusal passes exactly when its code, its reason and the set of its fields are the expected ones.
func TestCompareFailure(t *testing.T) {
	refused, err := status.New(codes.InvalidArgument, "wrong").WithDetails(
		&errdetails.ErrorInfo{Reason: "INVALID_REQUEST"},
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
			{Field: "query"}, {Field: "key"}, {Field: "query"},
		}},
	)
	if err != nil {
		t.Fatal(err)
	}
	both := []string{"key", "query"}
	for name, test := range map[string]struct {
		err      error
		expected refusal
		passes   bool
	}{
		"equal":           {refused.Err(), refusal{"INVALID_ARGUMENT", "INVALID_REQUEST", both}, true},
		"another code":    {refused.Err(), refusal{"RESOURCE_EXHAUSTED", "INVALID_REQUEST", both}, false},
		"another reason":  {refused.Err(), refusal{"INVALID_ARGUMENT", "OTHER", both}, false},
		"fewer fields":    {refused.Err(), refusal{"INVALID_ARGUMENT", "INVALID_REQUEST", []string{"key"}}, false},
		"details":         {refused.Err(), refusal{Code: "INVALID_ARGUMENT"}, false},
		"without details": {status.Error(codes.DeadlineExceeded, "late"), refusal{Code: "DEADLINE_EXCEEDED"}, true},
		"lacking details": {status.Error(codes.DeadlineExceeded, "late"), refusal{"DEADLINE_EXCEEDED", "LATE", nil}, false},
		"no status":       {errors.New("wrong"), refusal{"INVALID_ARGUMENT", "INVALID_REQUEST", both}, false},
		"an answer":       {nil, refusal{Code: "DEADLINE_EXCEEDED"}, false},
	} {
		if err := compareFailure(test.err, &test.expected); (err == nil) != test.passes {
			t.Errorf("%s: got %v, passes should be %t", name, err, test.passes)
		}
	}
}
