package main

import (
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	qkvv1 "example.com/qkv/gen/qkv/v1"
)

// fill makes the request of a vector out of an empty one: what stands in JSON, and the tensors at their paths.
func fill(request proto.Message, vector vector, tensors map[string]*qkvv1.Tensor) error {
	if err := protojson.Unmarshal(vector.Request, request); err != nil {
		return err
	}
	for path, name := range vector.Inputs {
		tensor, ok := tensors[name]
		if !ok {
			return fmt.Errorf("%s: no tensor %q in the file", path, name)
		}
		operand, err := operandAt(request.ProtoReflect(), path)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		operand.Source = &qkvv1.Operand_Tensor{Tensor: tensor}
	}
	return nil
}

// operandAt finds, or makes, the operand at a path of field names and indices of repeated fields, as "parts.0.output".
func operandAt(message protoreflect.Message, path string) (*qkvv1.Operand, error) {
	for steps := strings.Split(path, "."); len(steps) > 0; {
		field := message.Descriptor().Fields().ByName(protoreflect.Name(steps[0]))
		if field == nil || field.Message() == nil {
			return nil, fmt.Errorf("%s has no message %q", message.Descriptor().FullName(), steps[0])
		}
		steps = steps[1:]
		if !field.IsList() {
			message = message.Mutable(field).Message()
			continue
		}
		if len(steps) == 0 {
			return nil, fmt.Errorf("%s is repeated, expected an index", field.Name())
		}
		index, err := strconv.ParseUint(steps[0], 10, 16)
		if err != nil {
			return nil, err
		}
		steps = steps[1:]
		list := message.Mutable(field).List()
		for list.Len() <= int(index) {
			list.AppendMutable()
		}
		message = list.Get(int(index)).Message()
	}
	operand, ok := message.Interface().(*qkvv1.Operand)
	if !ok {
		return nil, fmt.Errorf("is a %s, expected an operand", message.Descriptor().FullName())
	}
	return operand, nil
}
