package main

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"

	"github.com/urfave/cli/v3"

	"github.com/postern-mail/postern/internal/account"
)

// allowanceFlags are the settings that take protection from connections to mail
// servers.
func (c *config) allowanceFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "allow-plaintext", Destination: &c.AllowPlaintext, Sources: c.sources("allow-plaintext"),
			Usage: "mail servers, as `HOST[:PORT] or CIDR`, to which passwords may go without TLS, comma-separated; this machine is always one"},
		&cli.StringSliceFlag{Name: "insecure-tls-hosts", Destination: &c.InsecureTLSHosts, Sources: c.sources("insecure-tls-hosts"),
			Usage: "mail servers, as `HOST[:PORT]`, whose certificates are not checked, comma-separated: anyone in between can read passwords"},
	}
}

// checkAllowances reads the settings of allowanceFlags.
func (c *config) checkAllowances() error {
	for _, text := range c.InsecureTLSHosts {
		server, err := account.ParseServer(strings.TrimSpace(text))
		if err != nil {
			return fmt.Errorf("--insecure-tls-hosts: %w", err)
		}
		c.allowances.Unverified = append(c.allowances.Unverified, server)
	}
	for _, text := range c.AllowPlaintext {
		text = strings.TrimSpace(text)
		if prefix, err := netip.ParsePrefix(text); err == nil {
			c.allowances.PlaintextNetworks = append(c.allowances.PlaintextNetworks, prefix.Masked())
			continue
		}
		server, err := account.ParseServer(text)
		if err != nil {
			return fmt.Errorf("--allow-plaintext: %w, nor a network such as 10.0.0.0/8", err)
		}
		c.allowances.Plaintext = append(c.allowances.Plaintext, server)
	}
	return nil
}

// warnOfAllowances says at each start what is less safe than it could be.
func (c *config) warnOfAllowances(log *slog.Logger) {
	if len(c.InsecureTLSHosts) > 0 {
		log.Warn("certificates of these mail servers are not checked: anyone in between can read mail and passwords; "+
			"name their authority or key in the accounts' tls instead", "insecure_tls_hosts", c.InsecureTLSHosts)
	}
	if len(c.AllowPlaintext) > 0 {
		log.Warn("passwords may go to these mail servers in clear", "allow_plaintext", c.AllowPlaintext)
	}
}
