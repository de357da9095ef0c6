package main

import (
	"os"
	"path/filepath"
	"testing"
)

// A suite of another format is refused, whatever else it holds.
func TestReadManifest(t *testing.T) {
	for text, accepted := range map[string]bool{
		`{"format": 1, "cases": [{"name": "a/b", "timeout_seconds": 0.5}]}`: true,
		`{"format": 2, "cases": []}`:                                        false,
		`{"format": 2, "cases": {"a/b": []}}`:                               false,
		`{"cases": []}`:                                                     false,
		`[]`:                                                                false,
	} {
		folder := t.TempDir()
		if err := os.WriteFile(filepath.Join(folder, "manifest.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		suite, err := readManifest(folder)
		if (err == nil) != accepted {
			t.Errorf("%s: got %v, accepted should be %t", text, err, accepted)
		}
		if accepted && (len(suite.Cases) != 1 || suite.Cases[0].TimeoutSeconds != 0.5) {
			t.Errorf("%s: got %v", text, suite)
		}
	}
}
