package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/urfave/cli/v3"

	"github.com/postern-mail/postern/internal/clientcert"
	"github.com/postern-mail/postern/internal/follow"
)

// transportSettings say what the API's listeners speak.
type transportSettings struct {
	Cert       string
	Key        string
	ClientCA   string
	ClientAuth string
	acme       acmeSettings
}

// The values of --tls-client-auth.
const (
	clientAuthOptional = "optional"
	clientAuthRequire  = "require"
)

func (s *transportSettings) flags(sources func(string) cli.ValueSourceChain) []cli.Flag {
	text := func(name, value string, dest *string, usage string) cli.Flag {
		return &cli.StringFlag{Name: name, Value: value, Destination: dest, Usage: usage, Sources: sources(name)}
	}
	return append([]cli.Flag{
		text("tls-cert", "", &s.Cert, "certificate chain for the HTTP and gRPC listeners, a PEM `FILE`; read again when it changes"),
		text("tls-key", "", &s.Key, "private key of --tls-cert, a PEM `FILE`"),
		text("tls-client-ca", "", &s.ClientCA, "let clients show certificates that the authorities in this PEM `FILE` issued; read again when it changes"),
		text("tls-client-auth", clientAuthOptional, &s.ClientAuth, "`WHETHER` clients must show a certificate: optional or require"),
	}, s.acme.flags(sources)...)
}

// encrypts reports whether the listeners speak TLS.
func (s *transportSettings) encrypts() bool { return s.Cert != "" || s.acme.used() }

func (s *transportSettings) validate() error {
	if (s.Cert == "") != (s.Key == "") {
		return errors.New("--tls-cert and --tls-key go together: give both or neither")
	}
	if s.Cert != "" && s.acme.used() {
		return errors.New("there are two certificates, from --tls-cert and from --acme-domains: give one")
	}
	if err := s.acme.validate(); err != nil {
		return err
	}
	if s.ClientAuth != clientAuthOptional && s.ClientAuth != clientAuthRequire {
		return fmt.Errorf("--tls-client-auth is %q: give optional or require", s.ClientAuth)
	}
	if s.ClientCA != "" && !s.encrypts() {
		return errors.New("--tls-client-ca: clients show certificates over TLS only: give --tls-cert and --tls-key, or --acme-domains")
	}
	if s.ClientCA == "" && s.ClientAuth == clientAuthRequire {
		return errors.New("--tls-client-auth require: say with --tls-client-ca who may issue the certificates")
	}
	return nil
}

// cipherSuites are those of TLS 1.2 that have forward secrecy and authenticated
// encryption (RFC 9325 section 4.2). TLS 1.3 has no others.
var cipherSuites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// openTransport makes what the API's listeners speak, nil for clear text. What it
// read from files is followed while the node runs.
func (n *node) openTransport(s *transportSettings) (*tls.Config, error) {
	if !s.encrypts() {
		return nil, nil
	}
	get, err := n.openCertificate(s)
	if err != nil {
		return nil, err
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, CipherSuites: cipherSuites, GetCertificate: get}
	if s.ClientCA == "" {
		return n.withChallenges(cfg, s), nil
	}
	authorities, err := follow.New("--tls-client-ca", func(contents [][]byte) (*x509.CertPool, error) {
		return clientcert.ParseAuthorities(contents[0])
	}, s.ClientCA)
	if err != nil {
		return nil, err
	}
	followFiles(n, authorities)
	return n.withChallenges(withClients(cfg, s.ClientAuth, authorities.Current), s), nil
}

// withChallenges has connections answered by which an authority looks whose name
// it is. They show no certificate of a client, and ask for nothing else.
func (n *node) withChallenges(cfg *tls.Config, s *transportSettings) *tls.Config {
	if !s.acme.used() {
		return cfg
	}
	others := cfg.GetConfigForClient
	cfg.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		challenge, err := n.certificates.ConfigFor(hello)
		if challenge != nil || err != nil || others == nil {
			return challenge, err
		}
		return others(hello)
	}
	return cfg
}

// getCertificate is what [tls.Config] wants of GetCertificate.
type getCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error)

// openCertificate opens the files of the API's certificate. One that an authority
// is to issue is opened later, with what it is kept in.
func (n *node) openCertificate(s *transportSettings) (getCertificate, error) {
	if s.acme.used() {
		return func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) { return n.certificates.Certificate(hello) }, nil
	}
	certificate, err := follow.New("--tls-cert and --tls-key", func(contents [][]byte) (*tls.Certificate, error) {
		pair, err := tls.X509KeyPair(contents[0], contents[1])
		return &pair, err
	}, s.Cert, s.Key)
	if err != nil {
		return nil, err
	}
	followFiles(n, certificate)
	return func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return certificate.Current(), nil }, nil
}

// withClients has clients asked for certificates of the authorities that there are
// at the time.
func withClients(cfg *tls.Config, auth string, authorities func() *x509.CertPool) *tls.Config {
	cfg.ClientAuth = tls.VerifyClientCertIfGiven
	if auth == clientAuthRequire {
		cfg.ClientAuth = tls.RequireAndVerifyClientCert
	}
	// A connection that resumes an earlier session shows no certificate: each is
	// to be verified against the authorities of today.
	cfg.SessionTicketsDisabled = true
	cfg.ClientCAs = authorities()
	fixed := cfg.Clone()
	cfg.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		today := fixed.Clone()
		today.ClientCAs = authorities()
		return today, nil
	}
	return cfg
}

// followFiles has what files hold followed while the node runs.
func followFiles[T any](n *node, files *follow.Files[T]) {
	n.following = append(n.following, func(ctx context.Context) error {
		files.Run(ctx, n.log, nil)
		return nil
	})
}
