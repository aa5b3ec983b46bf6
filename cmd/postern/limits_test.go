package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// The page of the limits has the defaults that they have.
func TestDefaultsOfLimitsAreDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/limits.md")
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := parse(t)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for _, l := range cfg.numberLimits() {
		want[l.name] = fmt.Sprint(*l.dest)
	}
	for _, l := range cfg.timeLimits() {
		want[l.name] = strings.TrimSuffix(l.dest.String(), "0s")
		if *l.dest < time.Minute {
			want[l.name] = l.dest.String()
		}
	}
	for name, value := range want {
		if row := fmt.Sprintf("| `--%s` | `%s` | `%s` |", name, envName(name), value); !strings.Contains(string(page), row) {
			t.Errorf("docs/limits.md does not have %s", row)
		}
	}
}

// Limits are settings like all others, and those by address follow the proxies.
func TestSettingsOfLimits(t *testing.T) {
	t.Parallel()
	path := yamlFile(t, "rate-per-token: 7\nbody-timeout: 5s\ntrusted-proxies: [10.0.0.0/8]\nbehind-proxy: true\n")
	cfg, err := parse(t, "--config", path, "--streams-per-token", "0")
	if err != nil {
		t.Fatal(err)
	}
	l := cfg.Limits
	got := fmt.Sprintln(l.RatePerToken, l.BodyTimeout, l.StreamsPerToken, l.ConcurrentPerToken, l.TrustedProxies, l.AddressesHidden)
	if want := "7 5s 0 256 [10.0.0.0/8] true\n"; got != want {
		t.Errorf("limits %s, want %s", got, want)
	}
}
