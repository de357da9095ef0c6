package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	qkvv1 "example.com/qkv/gen/qkv/v1"
)

// defaultTimeout is the deadline, in seconds, of a vector that says none.
const defaultTimeout = 30.0

var service = qkvv1.File_qkv_v1_attention_proto.Services().ByName("AttentionService")

// run makes the call of a vector. The error says how what came back is not what must come.
func run(conn grpc.ClientConnInterface, folder string, vector vector) error {
	tensors := map[string]*qkvv1.Tensor{}
	if vector.File != "" {
		var err error
		if tensors, err = readSafetensors(filepath.Join(folder, filepath.FromSlash(vector.File))); err != nil {
			return err
		}
	}
	method := service.Methods().ByName(protoreflect.Name(vector.Method))
	if method == nil {
		return fmt.Errorf("%s has no method %q", service.FullName(), vector.Method)
	}
	request, answer, err := newMessages(method)
	if err != nil {
		return err
	}
	if err := fill(request, vector, tensors); err != nil {
		return fmt.Errorf("request: %w", err)
	}

	seconds := cmp.Or(vector.TimeoutSeconds, defaultTimeout)
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(seconds*float64(time.Second)))
	defer cancel()
	err = conn.Invoke(ctx, fmt.Sprintf("/%s/%s", service.FullName(), method.Name()), request, answer)

	switch {
	case vector.Error != nil:
		return compareFailure(err, vector.Error)
	case len(vector.Expected) == 0:
		return errors.New("the vector expects neither an answer nor an error")
	case err != nil:
		return fmt.Errorf("failed: %w", err)
	default:
		return compareAnswer(answer.ProtoReflect(), vector.Expected, tensors)
	}
}

// newMessages makes the empty request and the empty answer of a method.
func newMessages(method protoreflect.MethodDescriptor) (request, answer proto.Message, err error) {
	input, inputErr := protoregistry.GlobalTypes.FindMessageByName(method.Input().FullName())
	output, outputErr := protoregistry.GlobalTypes.FindMessageByName(method.Output().FullName())
	if err := errors.Join(inputErr, outputErr); err != nil {
		return nil, nil, err
	}
	return input.New().Interface(), output.New().Interface(), nil
}
