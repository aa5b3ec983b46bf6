package acme

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"golang.org/x/crypto/acme"
)

// obtain orders a certificate with a key of its own (RFC 8555 section 7.4) and
// gives both in PEM form.
func (c *Certificates) obtain(ctx context.Context) (pair []byte, err error) {
	client, err := c.register(ctx)
	if err != nil {
		return nil, fmt.Errorf("account: %w", err)
	}
	order, err := client.AuthorizeOrder(ctx, acme.DomainIDs(c.cfg.Domains...))
	if err != nil {
		return nil, fmt.Errorf("order: %w", err)
	}
	for _, authorization := range order.AuthzURLs {
		if err := c.prove(ctx, client, authorization); err != nil {
			return nil, err
		}
	}
	if order, err = client.WaitOrder(ctx, order.URI); err != nil {
		return nil, fmt.Errorf("order: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: c.cfg.Domains}, key)
	if err != nil {
		return nil, err
	}
	chain, _, err := client.CreateCertFromOrder(ctx, order, request, true)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	if pair, err = encodePair(chain, key); err != nil {
		return nil, err
	}
	issued, err := parsePair(pair)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	for _, domain := range c.cfg.Domains {
		if err := issued.Leaf.VerifyHostname(domain); err != nil {
			return nil, fmt.Errorf("certificate: %w", err)
		}
	}
	return pair, nil
}

// register makes us known to the authority, which it may have been told before.
func (c *Certificates) register(ctx context.Context) (*acme.Client, error) {
	key, err := c.accountKey(ctx)
	if err != nil {
		return nil, err
	}
	client := &acme.Client{Key: key, DirectoryURL: c.cfg.Directory, HTTPClient: c.client, UserAgent: c.cfg.UserAgent}
	account := &acme.Account{}
	if c.cfg.Email != "" {
		account.Contact = []string{"mailto:" + c.cfg.Email}
	}
	// The operator has accepted the terms, whichever they are.
	_, err = client.Register(ctx, account, acme.AcceptTOS)
	if errors.Is(err, acme.ErrAccountAlreadyExists) {
		err = nil
	}
	return client, err
}

// accountKey is the key by which the authority knows us, the same for all nodes
// and orders.
func (c *Certificates) accountKey(ctx context.Context) (*ecdsa.PrivateKey, error) {
	at := slot(kindAccount, c.cfg.Directory)
	stored, err := c.cfg.Store.get(ctx, at)
	switch {
	case err == nil:
		return x509.ParseECPrivateKey(stored)
	case !errors.Is(err, errNone):
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	encoded, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, c.cfg.Store.put(ctx, at, encoded)
}

// prove proves that one of the names is ours (RFC 8555 section 7.5).
func (c *Certificates) prove(ctx context.Context, client *acme.Client, at string) error {
	authorization, err := client.GetAuthorization(ctx, at)
	if err != nil {
		return fmt.Errorf("authorization: %w", err)
	}
	domain := authorization.Identifier.Value
	if authorization.Status == acme.StatusValid { // from an earlier order
		return nil
	}
	kind := "tls-alpn-01"
	if c.cfg.HTTP {
		kind = "http-01"
	}
	var challenge *acme.Challenge
	for _, offered := range authorization.Challenges {
		if offered.Type == kind {
			challenge = offered
		}
	}
	if challenge == nil {
		return fmt.Errorf("authorization of %s: the authority does not offer %s", domain, kind)
	}
	answer, where, err := c.answer(client, challenge, domain)
	if err != nil {
		return fmt.Errorf("authorization of %s: %w", domain, err)
	}
	if err := c.cfg.Store.put(ctx, where, answer); err != nil {
		return err
	}
	defer func() {
		// One that stays is of no use to anybody.
		cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
		defer cancel()
		_ = c.cfg.Store.remove(cleanup, where)
	}()
	if _, err := client.Accept(ctx, challenge); err != nil {
		return fmt.Errorf("authorization of %s: %w", domain, err)
	}
	if _, err := client.WaitAuthorization(ctx, authorization.URI); err != nil {
		return fmt.Errorf("authorization of %s: %w", domain, err)
	}
	return nil
}

// answer is what the authority wants to be answered when it looks, and where it
// is kept until then.
func (c *Certificates) answer(client *acme.Client, challenge *acme.Challenge, domain string) (answer []byte, where string, err error) {
	if c.cfg.HTTP {
		text, err := client.HTTP01ChallengeResponse(challenge.Token)
		return []byte(text), slot(kindChallenge, "http", challenge.Token), err
	}
	certificate, err := client.TLSALPN01ChallengeCert(challenge.Token, domain)
	if err != nil {
		return nil, "", err
	}
	key, ok := certificate.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return nil, "", fmt.Errorf("the key of a challenge is a %T", certificate.PrivateKey)
	}
	answer, err = encodePair(certificate.Certificate, key)
	return answer, slot(kindChallenge, "alpn", domain), err
}

// The types of PEM blocks.
const (
	blockCertificate = "CERTIFICATE"
	blockKey         = "PRIVATE KEY"
)

// encodePair writes a chain and its key as one text.
func encodePair(chain [][]byte, key *ecdsa.PrivateKey) ([]byte, error) {
	var text bytes.Buffer
	for _, der := range chain {
		if err := pem.Encode(&text, &pem.Block{Type: blockCertificate, Bytes: der}); err != nil {
			return nil, err
		}
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	err = pem.Encode(&text, &pem.Block{Type: blockKey, Bytes: der})
	return text.Bytes(), err
}

// parsePair reads what encodePair wrote.
func parsePair(text []byte) (*tls.Certificate, error) {
	pair, err := tls.X509KeyPair(text, text)
	if err != nil {
		return nil, err
	}
	return &pair, nil
}
