package main

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"example.com/qkv/failure"
	qkvv1 "example.com/qkv/gen/qkv/v1"
)

// compareAnswer says every way in which an answer is not the expected one, in one line.
func compareAnswer(
	answer protoreflect.Message, expectations map[string]expected, tensors map[string]*qkvv1.Tensor,
) error {
	var differences []string
	compared := 0
	fields := answer.Descriptor().Fields()
	for i := range fields.Len() {
		name := string(fields.Get(i).Name())
		operand, isOperand := answer.Get(fields.Get(i)).Interface().(protoreflect.Message)
		if !isOperand || operand.Descriptor().FullName() != operandName {
			continue
		}
		expected, isExpected := expectations[name]
		if isExpected {
			compared++
		}
		switch isSet := answer.Has(fields.Get(i)); {
		case isSet && !isExpected:
			differences = append(differences, name+": is set, expected unset")
		case !isSet && isExpected:
			differences = append(differences, name+": is unset")
		case isSet:
			if err := compareOperand(operand.Interface().(*qkvv1.Operand), expected, tensors[expected.Tensor]); err != nil {
				differences = append(differences, fmt.Sprintf("%s: %v", name, err))
			}
		}
	}
	if compared != len(expectations) {
		differences = append(differences, fmt.Sprintf("%s lacks one of the expected fields", answer.Descriptor().Name()))
	}
	if len(differences) > 0 {
		return errors.New(strings.Join(differences, "; "))
	}
	return nil
}

var operandName = (*qkvv1.Operand)(nil).ProtoReflect().Descriptor().FullName()

func compareOperand(answer *qkvv1.Operand, expected expected, tensor *qkvv1.Tensor) error {
	if tensor == nil {
		return fmt.Errorf("no tensor %q in the file", expected.Tensor)
	}
	want, err := float64s(tensor)
	if err != nil {
		return err
	}
	form, shape, got, err := read(answer)
	if err != nil {
		return err
	}
	expectedForm := expected.DataType
	if expected.Matrix {
		expectedForm = matrixForm
	}
	if form != expectedForm || !slices.Equal(shape, expected.Shape) {
		return fmt.Errorf("is %s %v, expected %s %v", form, shape, expectedForm, expected.Shape)
	}
	if len(got) != len(want) {
		return fmt.Errorf("has %d elements, expected %d", len(got), len(want))
	}
	for i := range want {
		if !near(got[i], want[i], expected.Absolute+expected.Relative*math.Abs(want[i])) {
			return fmt.Errorf("element %d is %v, expected %v (absolute %g, relative %g)",
				i, got[i], want[i], expected.Absolute, expected.Relative)
		}
	}
	return nil
}

// matrixForm is the form of an operand that is a matrix; that of a tensor is the name of its data type.
const matrixForm = "matrix"

// read is the form, the shape and the elements of an operand.
func read(operand *qkvv1.Operand) (form string, shape []int64, values []float64, err error) {
	if matrix := operand.GetMatrix(); matrix != nil {
		shape = []int64{matrix.GetRows(), matrix.GetColumns()}
		return matrixForm, shape, matrix.GetValues(), nil
	}
	tensor := operand.GetTensor()
	values, err = float64s(tensor)
	return tensor.GetDataType().String(), tensor.GetShape(), values, err
}

// near holds for a number within the tolerance, for NaN where NaN is expected, and for an infinity of the same sign.
func near(got, want, tolerance float64) bool {
	switch {
	case math.IsNaN(want):
		return math.IsNaN(got)
	case math.IsInf(want, 0):
		return got == want
	default:
		return math.Abs(got-want) <= tolerance
	}
}

// compareFailure says how a call failed otherwise than it must, or that it did not fail.
func compareFailure(err error, expected *refusal) error {
	if err == nil {
		return fmt.Errorf("was answered, expected %s", expected.Code)
	}
	failed := failure.Of(err)
	fields := []string{}
	for _, violation := range failed.Violations {
		fields = append(fields, violation.GetField())
	}
	slices.Sort(fields)
	fields = slices.Compact(fields)
	if failed.Code != expected.Code || failed.Reason != expected.Reason || !slices.Equal(fields, expected.Fields) {
		return fmt.Errorf("failed with %s %q %v (%s), expected %s %q %v",
			failed.Code, failed.Reason, fields, failed.Message, expected.Code, expected.Reason, expected.Fields)
	}
	return nil
}
