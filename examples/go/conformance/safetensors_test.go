package main

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	qkvv1 "example.com/qkv/gen/qkv/v1"
)

// written is a file as the Python package safetensors writes it.
const written = "\xa0\x00\x00\x00\x00\x00\x00\x00" +
	`{"__metadata__":{"made by":"safetensors"},` +
	`"count":{"dtype":"I64","shape":[],"data_offsets":[0,8]},` +
	`"half":{"dtype":"F16","shape":[1,3],"data_offsets":[8,14]}}   ` +
	"\xf9\xff\xff\xff\xff\xff\xff\xff" + "\x00\x3c\x00\xc0\xff\x7b"

// The type, the shape and the bytes of every tensor are read; metadata is none of them.
func TestParseSafetensors(t *testing.T) {
	tensors, err := parseSafetensors([]byte(written))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]*qkvv1.Tensor{
		"count": {DataType: qkvv1.DataType_DATA_TYPE_INT64, Data: []byte("\xf9\xff\xff\xff\xff\xff\xff\xff")},
		"half":  {DataType: qkvv1.DataType_DATA_TYPE_FLOAT16, Shape: []int64{1, 3}, Data: []byte("\x00\x3c\x00\xc0\xff\x7b")},
	}
	if len(tensors) != len(want) {
		t.Errorf("got %d tensors, want %d", len(tensors), len(want))
	}
	for name, tensor := range want {
		if !proto.Equal(tensors[name], tensor) {
			t.Errorf("%s: got %v, want %v", name, tensors[name], tensor)
		}
	}
}

// A file that is cut, or that names what is not there, is an error.
func TestParseSafetensorsRefuses(t *testing.T) {
	for name, content := range map[string]string{
		"cut in the length": written[:7],
		"cut in the header": written[:40],
		"cut in the data":   written[:len(written)-1],
		"length":            "\xff" + written[1:],
		"type":              strings.Replace(written, `"F16"`, `"F17"`, 1),
		"order":             strings.Replace(written, `[8,14]`, `[14,8]`, 1),
		"JSON":              strings.Replace(written, `]}}`, `]} `, 1),
	} {
		if tensors, err := parseSafetensors([]byte(content)); err == nil {
			t.Errorf("%s: got %v, want an error", name, tensors)
		}
	}
}
