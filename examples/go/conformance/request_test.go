package main

import (
	"encoding/json"
	"testing"

	"google.golang.org/protobuf/proto"

	qkvv1 "example.com/qkv/gen/qkv/v1"
)

// A request is what stands in JSON and the tensors at their paths, in nested messages and repeated fields too.
func TestFill(t *testing.T) {
	tensors := map[string]*qkvv1.Tensor{"a": {Data: []byte{1}}, "b": {Data: []byte{2}}}
	operand := func(name string) *qkvv1.Operand {
		return &qkvv1.Operand{Source: &qkvv1.Operand_Tensor{Tensor: tensors[name]}}
	}
	for _, test := range []struct {
		vector vector
		got    proto.Message
		want   proto.Message
	}{
		{
			vector{
				Request: json.RawMessage(`{"visibility": {"causal": true}}`),
				Inputs:  map[string]string{"query": "a", "visibility.mask": "b", "scoring.alibi.slopes": "a"},
			},
			&qkvv1.AttentionRequest{},
			&qkvv1.AttentionRequest{
				Query:      operand("a"),
				Visibility: &qkvv1.Visibility{Causal: true, Mask: operand("b")},
				Scoring:    &qkvv1.Scoring{Alibi: &qkvv1.Alibi{Slopes: operand("a")}},
			},
		},
		{
			vector{
				Request: json.RawMessage(`{"logBase": "LOG_BASE_TWO"}`),
				Inputs:  map[string]string{"parts.1.output": "b", "parts.0.log_sum_exp": "a"},
			},
			&qkvv1.MergeRequest{},
			&qkvv1.MergeRequest{
				LogBase: qkvv1.LogBase_LOG_BASE_TWO,
				Parts:   []*qkvv1.PartialResult{{LogSumExp: operand("a")}, {Output: operand("b")}},
			},
		},
	} {
		if err := fill(test.got, test.vector, tensors); err != nil || !proto.Equal(test.got, test.want) {
			t.Errorf("got %v, %v, want %v", test.got, err, test.want)
		}
	}
}

// What a request has no place for is an error, not left out.
func TestFillRefuses(t *testing.T) {
	tensors := map[string]*qkvv1.Tensor{"a": {}}
	for _, vector := range []vector{
		{Request: json.RawMessage(`{"axisOrders": 1}`)},
		{Request: json.RawMessage(`{}`), Inputs: map[string]string{"parts.0.output": "missing"}},
		{Request: json.RawMessage(`{}`), Inputs: map[string]string{"query": "a"}},
		{Request: json.RawMessage(`{}`), Inputs: map[string]string{"axis_order": "a"}},
		{Request: json.RawMessage(`{}`), Inputs: map[string]string{"parts": "a"}},
		{Request: json.RawMessage(`{}`), Inputs: map[string]string{"parts.0": "a"}},
		{Request: json.RawMessage(`{}`), Inputs: map[string]string{"parts.-1.output": "a"}},
	} {
		request := &qkvv1.MergeRequest{}
		if err := fill(request, vector, tensors); err == nil {
			t.Errorf("%s %v: got %v, want an error", vector.Request, vector.Inputs, request)
		}
	}
}
