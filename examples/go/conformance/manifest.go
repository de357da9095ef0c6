package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// formatNumber is the format of suites that this program reads.
const formatNumber = 1

// manifest is a suite of test vectors.
type manifest struct {
	Format int
	Cases  []vector
}

// vector is a call, and the answer or the refusal that it must have.
type vector struct {
	Name           string
	Method         string              // of qkv.v1.AttentionService
	Request        json.RawMessage     // proto3 JSON, without the operands that are tensors
	File           string              // safetensors beside the manifest; empty: no arrays
	Inputs         map[string]string   // from the path of an operand in the request to a tensor of the file
	Expected       map[string]expected // by the fields of the answer
	Error          *refusal
	TimeoutSeconds float64 `json:"timeout_seconds"`
}

// expected is one array of an answer. An element passes within absolute + relative·|expected|.
type expected struct {
	Tensor   string // in the file; float64
	DataType string // of the answer's tensor, by name
	Matrix   bool   // the answer is a matrix
	Shape    []int64
	Absolute float64
	Relative float64
}

// refusal is how a call must fail.
type refusal struct {
	Code   string   // the name of the gRPC status
	Reason string   // of ErrorInfo; empty: no details
	Fields []string // those of BadRequest, sorted
}

func readManifest(folder string) (*manifest, error) {
	path := filepath.Join(folder, "manifest.json")
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	// The number first: another format may have another type wherever it likes.
	var header struct{ Format json.Number }
	if err := json.Unmarshal(text, &header); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if header.Format.String() != fmt.Sprint(formatNumber) {
		return nil, fmt.Errorf("%s: format is %q, this program reads %d", path, header.Format, formatNumber)
	}
	var suite manifest
	if err := json.Unmarshal(text, &suite); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &suite, nil
}
