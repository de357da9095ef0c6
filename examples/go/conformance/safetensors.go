package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"

	qkvv1 "example.com/qkv/gen/qkv/v1"
)

// metadataKey stands among the tensors of a header and is none.
const metadataKey = "__metadata__"

// readSafetensors reads a file of https://github.com/huggingface/safetensors: the length of the header (8 bytes,
// little-endian), the header in JSON, the data. Its bytes are laid out as the contract wants them.
func readSafetensors(path string) (map[string]*qkvv1.Tensor, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	tensors, err := parseSafetensors(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return tensors, nil
}

func parseSafetensors(content []byte) (map[string]*qkvv1.Tensor, error) {
	if len(content) < 8 {
		return nil, fmt.Errorf("%d bytes are no safetensors", len(content))
	}
	length, content := binary.LittleEndian.Uint64(content), content[8:]
	if length > uint64(len(content)) {
		return nil, fmt.Errorf("the header is to have %d bytes, %d are left", length, len(content))
	}
	header, data := content[:length], content[length:]
	entries := map[string]json.RawMessage{}
	if err := json.Unmarshal(header, &entries); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	delete(entries, metadataKey)

	tensors := map[string]*qkvv1.Tensor{}
	for name, text := range entries {
		var entry struct {
			DType       string
			Shape       []int64
			DataOffsets [2]int `json:"data_offsets"`
		}
		if err := json.Unmarshal(text, &entry); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		element, err := elementNamed(entry.DType)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		begin, end := entry.DataOffsets[0], entry.DataOffsets[1]
		if begin < 0 || begin > end || end > len(data) {
			return nil, fmt.Errorf("%s: bytes %d to %d, there are %d", name, begin, end, len(data))
		}
		tensors[name] = &qkvv1.Tensor{DataType: element.dataType, Shape: entry.Shape, Data: data[begin:end]}
	}
	return tensors, nil
}
