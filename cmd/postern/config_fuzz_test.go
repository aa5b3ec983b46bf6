package main

import (
	"os"
	"path/filepath"
	"testing"
)

// Whatever is in the file of settings, it is read or refused.
func FuzzSettingsFile(f *testing.F) {
	for _, text := range []string{
		"data-dir: /var/lib/postern\nallow-networks: [10.0.0.0/8, \"fd00::/8\"]\nevents-replicas: 3\n", "http: {addr: x}\n", "a: &a [*a]\n",
		"<<: {http: x}\n", "? [x]\n: y\n", "http: !!binary aGk=\n", "- x\n", "{", "http: null\n", "1: 2\n",
	} {
		f.Add([]byte(text))
	}
	path := filepath.Join(f.TempDir(), "postern.yaml")
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		settings, err := readFile(path)
		if err != nil {
			return
		}
		for key := range settings {
			if (fileSource{config: &config{File: path}, key: key}).String() == "" {
				t.Errorf("the key %q has no name", key)
			}
		}
	})
}
