package discover

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/postern-mail/postern/internal/imapconn"
)

// Bounds of a configuration.
const (
	maxDepth    = 16
	maxElements = 1000
)

// clientConfig is what counts of a configuration for mail programs.
type clientConfig struct {
	XMLName  xml.Name `xml:"clientConfig"`
	Provider struct {
		Incoming []serverConfig `xml:"incomingServer"`
		Outgoing []serverConfig `xml:"outgoingServer"`
	} `xml:"emailProvider"`
}

type serverConfig struct {
	Type       string   `xml:"type,attr"`
	Host       string   `xml:"hostname"`
	Port       string   `xml:"port"`
	SocketType string   `xml:"socketType"`
	Username   string   `xml:"username"`
	Auth       []string `xml:"authentication"`
}

// parseConfig reads a configuration. It takes UTF-8 and no document type, so there
// are no entities but those of XML itself.
func parseConfig(document []byte) (*clientConfig, error) {
	if len(document) > maxDocument {
		return nil, fmt.Errorf("a configuration of more than %d bytes", maxDocument)
	}
	config := &clientConfig{}
	if err := xml.NewTokenDecoder(&boundedTokens{decoder: xml.NewDecoder(bytes.NewReader(document))}).Decode(config); err != nil {
		return nil, err
	}
	return config, nil
}

// boundedTokens are the tokens of a document that is simple enough.
type boundedTokens struct {
	decoder         *xml.Decoder
	depth, elements int
}

// Token implements [xml.TokenReader].
func (b *boundedTokens) Token() (xml.Token, error) {
	token, err := b.decoder.Token()
	if err != nil {
		if errors.Is(err, io.EOF) && b.depth > 0 {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	switch token.(type) {
	case xml.StartElement:
		b.depth++
		b.elements++
	case xml.EndElement:
		b.depth--
	case xml.Directive:
		return nil, errors.New("a document type")
	}
	if b.depth > maxDepth || b.elements > maxElements {
		return nil, errors.New("too many elements")
	}
	return token, nil
}

// servers are the servers that a configuration has for a protocol and that can be
// used, in its order, and what each is logged in to with.
func (c *clientConfig) servers(p protocol, domain string) (servers []Server, methods [][]Method) {
	all := c.Provider.Incoming
	if p == protoSMTP {
		all = c.Provider.Outgoing
	}
	for i := range all {
		server, how, ok := all[i].server(p, domain)
		if ok && len(servers) < maxTargets {
			servers, methods = append(servers, server), append(methods, how)
		}
	}
	return servers, methods
}

// server reads one server. It does not take those without TLS, and those that want
// credentials that Postern has no use for.
func (c *serverConfig) server(p protocol, domain string) (server Server, methods []Method, ok bool) {
	if strings.TrimSpace(c.Type) != string(p) {
		return Server{}, nil, false
	}
	switch strings.TrimSpace(c.SocketType) {
	case "SSL":
		server.TLSMode = imapconn.ModeTLS
	case "STARTTLS":
		server.TLSMode = imapconn.ModeSTARTTLS
	default:
		return Server{}, nil, false
	}
	port, err := strconv.ParseUint(strings.TrimSpace(c.Port), 10, 16)
	if err != nil || port == 0 {
		return Server{}, nil, false
	}
	server.Port = int(port)
	if server.Host, ok = hostName(trimDot(strings.ReplaceAll(strings.TrimSpace(c.Host), placeDomain, domain))); !ok {
		return Server{}, nil, false
	}
	server.Username = usernamePattern(asPattern(strings.TrimSpace(c.Username), domain))
	for _, auth := range c.Auth {
		var method Method
		switch strings.TrimSpace(auth) {
		case "password-cleartext", "password-encrypted", "plain", "secure": // the last two are old
			method = MethodPassword
		case "OAuth2":
			method = MethodOAuth2
		default:
			continue
		}
		if !slices.Contains(methods, method) {
			methods = append(methods, method)
		}
	}
	return server, methods, len(methods) > 0
}

// asPattern puts placeholders back where a server has filled in the mailbox that it
// was asked for.
func asPattern(name, domain string) string {
	switch {
	case strings.EqualFold(name, standIn+"@"+domain):
		return placeAddress
	case strings.EqualFold(name, standIn):
		return placeLocal
	}
	return name
}
