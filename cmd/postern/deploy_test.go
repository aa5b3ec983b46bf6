package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v3"
)

func readText(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The image is built with the toolchain that vulnerabilities are looked for in.
func TestImageIsBuiltWithTheToolchainOfReleases(t *testing.T) {
	t.Parallel()
	find := func(path, pattern string) string {
		t.Helper()
		found := regexp.MustCompile(pattern).FindStringSubmatch(readText(t, path))
		if found == nil {
			t.Fatalf("%s has no %s", path, pattern)
		}
		return found[1]
	}
	toolchain := find("../../go.mod", `(?m)^toolchain go(\S+)$`)
	if image := find("../../deploy/Dockerfile", `golang:(\S+)\n`); image != toolchain {
		t.Errorf("the image is built with Go %s, releases with %s", image, toolchain)
	}
}

// A misspelt setting in the environment has no effect and is not told, so those in
// deploy/ have to be settings of serve.
func TestDeploymentsUseSettings(t *testing.T) {
	t.Parallel()
	flags := (&config{}).flags()
	for _, file := range []string{"Dockerfile", "compose.yaml", "kubernetes.yaml", "postern.service"} {
		used := regexp.MustCompile(`POSTERN_[A-Z_]+`).FindAllString(readText(t, "../../deploy/"+file), -1)
		if len(used) == 0 {
			t.Errorf("%s has no settings", file)
		}
		for _, name := range used {
			known := slices.ContainsFunc(flags, func(flag cli.Flag) bool { return envName(flag.Names()[0]) == strings.TrimSuffix(name, "_") })
			if !known && name != "POSTERN_" {
				t.Errorf("%s: there is no setting %s", file, name)
			}
		}
	}
}
