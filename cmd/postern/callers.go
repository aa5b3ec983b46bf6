package main

import (
	"errors"

	"github.com/urfave/cli/v3"

	"github.com/postern-mail/postern/internal/access"
	"github.com/postern-mail/postern/internal/clientcert"
	"github.com/postern-mail/postern/internal/jwt"
)

// callerSettings say who may call besides the holders of API tokens.
type callerSettings struct {
	Principals string
	jwt        jwtSettings
}

func (s *callerSettings) flags(sources func(string) cli.ValueSourceChain) []cli.Flag {
	principals := &cli.StringFlag{Name: "principals", Destination: &s.Principals, Sources: sources("principals"),
		Usage: "what the holders of which client certificates may do, a YAML `FILE`; read again when it changes"}
	return append([]cli.Flag{principals}, s.jwt.flags(sources)...)
}

func (s *callerSettings) validate(transport *transportSettings) error {
	if s.Principals != "" && transport.ClientCA == "" {
		return errors.New("--principals: say with --tls-client-ca who issues the certificates")
	}
	if s.Principals == "" && transport.ClientCA != "" && transport.ClientAuth == clientAuthOptional {
		return errors.New("--tls-client-ca: a certificate would be of no use: say with --principals what its holder may do, " +
			"or give --tls-client-auth require to have it beside the token")
	}
	return s.jwt.validate()
}

// openCallers joins the ways in which callers can show who they are. Which one it
// is can be told from the form of what they show.
func (n *node) openCallers(s *callerSettings, tokens ...access.Authenticator) (access.Authenticator, error) {
	ways := tokens
	if s.Principals != "" {
		certificates, err := clientcert.Open("--principals", s.Principals, n.log)
		if err != nil {
			return nil, err
		}
		n.following = append(n.following, certificates.Run)
		ways = append(ways, certificates)
	}
	if s.jwt.used() {
		tokens, err := jwt.Open(s.jwt.config(n.log))
		if err != nil {
			return nil, err
		}
		n.following = append(n.following, tokens.Run)
		ways = append(ways, tokens)
	}
	return access.AnyOf(ways...), nil
}
