package discover

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// Bounds of what is fetched from web servers.
const (
	maxDocument  = 64 << 10
	maxRedirects = 3
	maxHeader    = 16 << 10
)

// standIn is the mailbox that a configuration is asked for. The question is of a form
// that has the whole address, but the user's is nobody's business before the user has
// agreed to anything, and every domain with mail has this one (RFC 5321 section 4.5.1).
const standIn = "postmaster"

// webClient fetches by HTTPS alone, from addresses that may be connected to. Its
// connections end with ctx, which those of an [http.Transport] else outlive.
func (f *Finder) webClient(ctx context.Context) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialTLSContext: func(_ context.Context, network, addr string) (net.Conn, error) {
				return f.dialTLS(ctx, network, addr)
			},
			DialContext: func(context.Context, string, string) (net.Conn, error) {
				return nil, errors.New("no connection in clear")
			},
			DisableKeepAlives: true, MaxResponseHeaderBytes: maxHeader,
		},
		CheckRedirect: checkRedirect,
	}
}

func (f *Finder) dialTLS(ctx context.Context, network, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	raw, err := f.dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	config := f.tlsConfig()
	config.ServerName = trimDot(host)
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, err
	}
	return conn, nil
}

// tlsConfig is a copy of the base, to be changed.
func (f *Finder) tlsConfig() *tls.Config {
	if f.config.TLS == nil {
		return &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return f.config.TLS.Clone()
}

// checkRedirect lets web servers lead to others of their kind only.
func checkRedirect(request *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return errors.New("too many redirects")
	}
	return checkURL(request.URL)
}

func checkURL(u *url.URL) error {
	if u.Scheme != "https" || u.User != nil || u.Port() != "" && u.Port() != "443" {
		return errors.New("no plain https URL")
	}
	if _, ok := hostName(trimDot(u.Hostname())); !ok {
		return errors.New("no host name in the URL")
	}
	return nil
}

// autoconfig asks for the domain's configuration for mail programs at the two places
// that Thunderbird looks at,
// https://www.bucksch.org/1/projects/thunderbird/autoconfiguration/config-file-format.html.
// It never asks in clear, as Thunderbird may.
func (s *search) autoconfig(ctx context.Context) []Candidate {
	places := []string{
		"https://autoconfig." + s.domain + "/mail/config-v1.1.xml?emailaddress=" + url.QueryEscape(standIn+"@"+s.domain),
		"https://" + s.domain + "/.well-known/autoconfig/mail/config-v1.1.xml",
	}
	fetched := make([]*clientConfig, len(places))
	var work sync.WaitGroup
	for i, place := range places {
		work.Go(func() { fetched[i], _ = s.fetch(ctx, place) }) // whatever is wrong with it: there is none
	}
	work.Wait()
	for _, config := range fetched {
		if config == nil {
			continue
		}
		if c, ok := s.configured(ctx, config); ok {
			return []Candidate{c}
		}
	}
	return nil
}

// configured makes a candidate of a configuration.
func (s *search) configured(ctx context.Context, config *clientConfig) (Candidate, bool) {
	reading, methods := config.servers(protoIMAP, s.domain)
	sending, _ := config.servers(protoSMTP, s.domain)
	c, ok := s.candidate(ctx, SourceAutoconfig, reading, sending)
	if !ok {
		return c, false
	}
	for i := range reading {
		if reading[i].same(c.IMAP) {
			c.Methods = methods[i]
			break
		}
	}
	return c, true
}

// fetchTimeout bounds one fetch, redirects included.
const fetchTimeout = 4 * time.Second

func (s *search) fetch(ctx context.Context, place string) (*clientConfig, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, place, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/xml, text/xml")
	if s.config.UserAgent != "" {
		request.Header.Set("User-Agent", s.config.UserAgent)
	}
	response, err := s.webClient(ctx).Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", place, response.Status)
	}
	document, err := io.ReadAll(io.LimitReader(response.Body, maxDocument+1))
	if err != nil {
		return nil, err
	}
	return parseConfig(document)
}
