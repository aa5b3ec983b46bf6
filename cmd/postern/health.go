package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/urfave/cli/v3"
)

// healthCommand asks a Postern on this machine whether it is ready, for the health
// checks of containers, whose image holds neither a shell nor curl.
func healthCommand() *cli.Command {
	cfg := &config{}
	var url string
	var timeout time.Duration
	known := cfg.flags()
	flags := []cli.Flag{
		&cli.StringFlag{Name: "url", Destination: &url, Usage: "ask at this `URL` instead of the HTTP listener of the settings"},
		&cli.DurationFlag{Name: "timeout", Value: 5 * time.Second, Destination: &timeout, Usage: "wait for the answer for this `DURATION`"},
	}
	for _, flag := range known {
		switch flag.Names()[0] {
		case "config", "http", "tls-cert", "acme-domains":
			flags = append(flags, flag)
		}
	}
	return &cli.Command{
		Name:  "health",
		Usage: "tell by the exit code whether the Postern of this machine is ready",
		Description: "It takes the address from the settings of serve: the flags, the environment or the file.\n" +
			"Exit code 0 means that /readyz answered 200.",
		Flags: flags,
		Action: func(ctx context.Context, _ *cli.Command) error {
			if err := checkFile(cfg.File, known); err != nil {
				return &usageError{err}
			}
			if url == "" {
				local, err := cfg.localURL()
				if err != nil {
					return &usageError{err}
				}
				url = local
			}
			ctx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			return askReady(ctx, url)
		},
	}
}

// localURL is where the HTTP listener is reached from this machine.
func (c *config) localURL() (string, error) {
	host, port, err := net.SplitHostPort(c.HTTP)
	if err != nil {
		return "", fmt.Errorf("--http is %q: give HOST:PORT such as 127.0.0.1:8080", c.HTTP)
	}
	if port == "0" {
		return "", errors.New("--http takes a free port, which only the log of serve tells: give the --url")
	}
	if addr, err := netip.ParseAddr(host); host == "" || err == nil && addr.IsUnspecified() {
		host = "127.0.0.1"
		if addr.Is6() {
			host = "::1"
		}
	}
	scheme := "http"
	if c.transport.encrypts() {
		scheme = "https"
	}
	return scheme + "://" + net.JoinHostPort(host, port), nil
}

// askReady is an error unless the Postern at a URL is ready.
func askReady(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/readyz", http.NoBody)
	if err != nil {
		return &usageError{fmt.Errorf("--url: %w", err)}
	}
	client := &http.Client{
		Transport: &http.Transport{
			// The certificate is for the name that clients use, not for this
			// address. Nothing secret is sent, and one bit is believed.
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // see above
			DisableKeepAlives: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	answer, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("not ready: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<10))
		return fmt.Errorf("not ready: status %d: %q", answer.StatusCode, text)
	}
	return nil
}
