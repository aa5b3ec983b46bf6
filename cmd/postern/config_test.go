package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/urfave/cli/v3"
)

// parse gives the settings that a command line comes to, without the
// environment: tests run beside each other.
func parse(t *testing.T, args ...string) (*config, error) {
	t.Helper()
	cfg := &config{}
	cmd := &cli.Command{
		Name: "serve", Flags: cfg.flags(), Writer: io.Discard, ErrWriter: io.Discard, OnUsageError: asUsageError,
		Action: func(_ context.Context, cmd *cli.Command) error { return cfg.validate(cmd.IsSet) },
	}
	return cfg, cmd.Run(t.Context(), append([]string{"serve"}, args...))
}

func yamlFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "postern.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSettingsDefaults(t *testing.T) {
	t.Parallel()
	cfg, err := parse(t)
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintln(cfg.DataDir, cfg.HTTP, cfg.GRPC, cfg.NATS, cfg.EventsMaxAge, cfg.EventsReplicas, cfg.PollInterval, cfg.allowed)
	if want := "postern-data 127.0.0.1:8080 127.0.0.1:9090 127.0.0.1:4222 168h0m0s 1 1m0s []\n"; got != want {
		t.Errorf("defaults %s, want %s", got, want)
	}
}

func TestSettingsOfFile(t *testing.T) {
	t.Parallel()
	path := yamlFile(t, `
data-dir: /var/lib/postern
http: 127.0.0.1:81
nats-url: nats://u:canary@nats.example.com
behind-proxy: true
allow-networks: [10.0.0.0/8, "fd00::/8"]
events-replicas: 3
poll-interval: 5m
log-format: json
`)
	cfg, err := parse(t, "--config", path, "--http", "127.0.0.1:82")
	if err != nil {
		t.Fatal(err)
	}
	if cfg.HTTP != "127.0.0.1:82" {
		t.Errorf("http is %s: the flag does not win over the file", cfg.HTTP)
	}
	got := fmt.Sprintln(cfg.DataDir, cfg.BehindProxy, cfg.allowed, cfg.EventsReplicas, cfg.PollInterval, cfg.LogFormat, cfg.NATSURL)
	if want := "/var/lib/postern true [10.0.0.0/8 fd00::/8] 3 5m0s json [redacted]\n"; got != want {
		t.Errorf("settings %s, want %s", got, want)
	}
	if cfg.NATSURL.Reveal() != "nats://u:canary@nats.example.com" {
		t.Error("nats-url is not that of the file")
	}
	if strings.Contains(fmt.Sprintf("%+v %#v", cfg, *cfg), "canary") {
		t.Error("the settings print a password")
	}
}

func TestSettingsRefused(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		args []string
		says string
	}{
		"all interfaces":          {[]string{"--http", "0.0.0.0:80"}, "without TLS beyond this machine"},
		"all, by leaving out":     {[]string{"--grpc", ":9090"}, "--grpc :9090 would serve"},
		"another host":            {[]string{"--http", "mail.example.com:80"}, "without TLS"},
		"no port":                 {[]string{"--http", "127.0.0.1"}, "give HOST:PORT"},
		"no network":              {[]string{"--allow-networks", "10.0.0.1"}, `"10.0.0.1" is no network`},
		"too many replicas":       {[]string{"--nats-url", "nats://h", "--events-replicas", "7"}, "from 1 to 5"},
		"replicas of one":         {[]string{"--events-replicas", "3"}, "the embedded NATS server is one"},
		"both kinds of NATS":      {[]string{"--nats-url", "nats://h", "--nats", "127.0.0.1:4222"}, "give one of them"},
		"both kinds, by file":     {[]string{"--nats-url", "nats://h", "--config", yamlFile(t, "nats: 127.0.0.1:4222\n")}, "give one of them"},
		"no age":                  {[]string{"--events-max-age", "0s"}, "at least 1m"},
		"giving up at once":       {[]string{"--submission-give-up", "1s"}, "at least 1m"},
		"no public HTTPS":         {[]string{"--public-url", "http://postern.example.com"}, "such as https://"},
		"a public query":          {[]string{"--public-url", "https://postern.example.com/?a=b"}, "such as https://"},
		"endless polling":         {[]string{"--poll-interval", "1ms"}, "at least 1s"},
		"impatience":              {[]string{"--link-timeout", "1s"}, "from 30s"},
		"a link forever":          {[]string{"--link-timeout", "24h"}, "to 30m"},
		"no connections":          {[]string{"--host-connections", "0"}, "at least 1"},
		"a storm of logins":       {[]string{"--host-logins", "5000"}, "from 1 to 1000"},
		"no unit":                 {[]string{"--poll-interval", "60"}, "poll-interval"},
		"a negative limit":        {[]string{"--rate-per-token", "-1"}, "--rate-per-token is -1: give a number from 0"},
		"no requests":             {[]string{"--max-request-bytes", "0"}, "give a number from 65536"},
		"no time":                 {[]string{"--body-timeout", "0s"}, "from 1s to 24h"},
		"no proxies":              {[]string{"--trusted-proxies", "10.0.0.1"}, `--trusted-proxies: "10.0.0.1" is no network`},
		"unknown level":           {[]string{"--log-level", "loud"}, "debug, info, warn or error"},
		"unknown format":          {[]string{"--log-format", "xml"}, "text or json"},
		"no file":                 {[]string{"--config", "/nonexistent/postern.yaml"}, "no such file"},
		"not YAML":                {[]string{"--config", yamlFile(t, "{")}, "read the configuration"},
		"unknown key":             {[]string{"--config", yamlFile(t, "htpp: x\n")}, `unknown setting "htpp"`},
		"nested":                  {[]string{"--config", yamlFile(t, "http: {addr: x}\n")}, "holds a mapping"},
		"a secret in the file":    {[]string{"--config", yamlFile(t, "admin-token: x\n")}, "as POSTERN_ADMIN_TOKEN"},
		"a key in the file":       {[]string{"--config", yamlFile(t, "key: x\n")}, "as POSTERN_KEY"},
		"a file of files":         {[]string{"--config", yamlFile(t, "config: x\n")}, `unknown setting "config"`},
		"a bad value in the file": {[]string{"--config", yamlFile(t, "poll-interval: often\n")}, `key "poll-interval" of the configuration file`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := parse(t, c.args...); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want one that says %q", err, c.says)
			}
		})
	}
}

func TestSettingsBeyondLoopback(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"with TLS":       {"--http", ":443", "--grpc", "[::]:9090", "--tls-cert", "c.pem", "--tls-key", "k.pem"},
		"behind a proxy": {"--http", "0.0.0.0:8080", "--behind-proxy"},
		"IPv6 loopback":  {"--http", "[::1]:8080", "--grpc", "localhost:9090"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := parse(t, args...); err != nil {
				t.Error(err)
			}
		})
	}
}

// The pages of the settings and the program must say the same.
func TestSettingsAreDocumented(t *testing.T) {
	t.Parallel()
	var page []byte
	for _, name := range []string{"configuration.md", "limits.md"} {
		text, err := os.ReadFile("../../docs/" + name)
		if err != nil {
			t.Fatal(err)
		}
		page = append(page, text...)
	}
	known := map[string]bool{}
	for _, flag := range (&config{}).flags() {
		name := flag.Names()[0]
		known[name], known[envName(name)] = true, true
		for _, form := range []string{"`--" + name + "`", "`" + envName(name) + "`"} {
			if !strings.Contains(string(page), form) {
				t.Errorf("the pages do not have %s", form)
			}
		}
	}
	for _, name := range secretSettings {
		known[envName(name)] = true
		if !strings.Contains(string(page), "`"+envName(name)+"`") {
			t.Errorf("the pages do not have `%s`", envName(name))
		}
	}
	for _, word := range strings.FieldsFunc(string(page), func(r rune) bool { return strings.ContainsRune("` |,:;().[\n", r) }) {
		if name, ok := strings.CutPrefix(word, "--"); ok && name != "" && strings.Trim(name, "-") != "" && !known[name] {
			t.Errorf("the pages have --%s, which does not exist", name)
		}
		if strings.HasPrefix(word, "POSTERN_") && word != "POSTERN_" && !known[word] {
			t.Errorf("the pages have %s, which does not exist", word)
		}
	}
}

func TestCommandLine(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		args   []string
		code   int
		stdout string
		stderr string
	}{
		"help":             {[]string{"--help"}, exitOK, "serve   watch mailboxes", ""},
		"nothing":          {nil, exitOK, "postern [global options]", ""},
		"help of serve":    {[]string{"serve", "--help"}, exitOK, "$POSTERN_ALLOW_NETWORKS", ""},
		"version":          {[]string{"--version"}, exitOK, "postern version ", ""},
		"unknown command":  {[]string{"server"}, exitUsage, "", "there is no command \"server\"\nSee `postern --help`.\n"},
		"unknown flag":     {[]string{"serve", "--htpp=x"}, exitUsage, "", "-htpp\nSee `postern serve --help`.\n"},
		"an argument":      {[]string{"demo", "now"}, exitUsage, "", "postern demo takes no arguments"},
		"a wrong setting":  {[]string{"serve", "--http=:80"}, exitUsage, "", "without TLS"},
		"an unusable file": {[]string{"serve", "--config=/nonexistent"}, exitUsage, "", "no such file"},
		"an unusable token": {[]string{"serve", "--data-dir=" + t.TempDir(), "--http=127.0.0.1:0", "--grpc=127.0.0.1:0", "--nats=127.0.0.1:0"},
			exitFailed, "", "POSTERN_ADMIN_TOKEN: the admin token has characters that cannot stand in a header"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var env []string
			if name == "an unusable token" {
				env = []string{"POSTERN_ADMIN_TOKEN=two words"}
			}
			got := execute(t, env, c.args...)
			if got.code != c.code || !strings.Contains(got.stdout, c.stdout) || !strings.Contains(got.stderr, c.stderr) {
				t.Errorf("code %d, stdout %q, stderr %q; want %d, %q, %q", got.code, got.stdout, got.stderr, c.code, c.stdout, c.stderr)
			}
			if c.stderr == "" && got.stderr != "" {
				t.Errorf("stderr %q", got.stderr)
			}
		})
	}
}
