package discover

import (
	"strings"

	"github.com/postern-mail/postern/internal/imapconn"
)

// provider is a large provider, whose servers everybody knows.
type provider struct {
	// name is what people call it.
	name string
	// domains are those of its addresses, and mx the ends of the names of the mail
	// servers that domains of its customers have.
	domains, mx []string
	imap, smtp  Server
	methods     []Method
	oauth2      *OAuth2
	note        string
	// hostedNote takes the note's place for domains of customers, who log in with a
	// name that the address does not tell.
	hostedNote string
}

func tlsAt(host string, port int) Server {
	return Server{Host: host, Port: port, TLSMode: imapconn.ModeTLS, Username: placeAddress}
}

func startTLSAt(host string, port int) Server {
	return Server{Host: host, Port: port, TLSMode: imapconn.ModeSTARTTLS, Username: placeAddress}
}

// localLogin is a server whose users log in with the part of the address in front of
// the @.
func (s Server) localLogin() Server {
	s.Username = placeLocal
	return s
}

var (
	googleOAuth = &OAuth2{ //nolint:gosec // no credentials, but where they come from
		AuthorizationURL: "https://accounts.google.com/o/oauth2/v2/auth", TokenURL: "https://oauth2.googleapis.com/token",
		Scopes: []string{"https://mail.google.com/"},
	}
	microsoftOAuth = &OAuth2{ //nolint:gosec // no credentials, but where they come from
		AuthorizationURL: "https://login.microsoftonline.com/common/oauth2/v2.0/authorize",
		TokenURL:         "https://login.microsoftonline.com/common/oauth2/v2.0/token",
		Scopes:           []string{"https://outlook.office.com/IMAP.AccessAsUser.All", "https://outlook.office.com/SMTP.Send", "offline_access"},
	}
	yandexOAuth = &OAuth2{ //nolint:gosec // no credentials, but where they come from
		AuthorizationURL: "https://oauth.yandex.com/authorize", TokenURL: "https://oauth.yandex.com/token",
		Scopes: []string{"mail:imap_full", "mail:smtp"},
	}
)

// Notes that several providers share.
const (
	noteOwnProgram  = "The account's own password is not taken: make one for this program in the settings of the account."
	noteSwitchedOff = "Access by IMAP has to be switched on in the settings of the mailbox. With two-factor login it takes a password made there for this program."
	noteTwoFactor   = "With two-factor login it takes a password made for this program in the settings of the account."
)

// providers are those whose servers are certain. The settings are the providers' own,
// and those of https://github.com/thunderbird/autoconfig.
var providers = []provider{
	{
		name: "Gmail", domains: []string{"gmail.com", "googlemail.com"},
		imap: tlsAt("imap.gmail.com", 993), smtp: tlsAt("smtp.gmail.com", 465),
		methods: []Method{MethodOAuth2, MethodAppPassword}, oauth2: googleOAuth,
		note: "App passwords take two-step verification.",
	},
	{
		name: "Google Workspace", mx: []string{"google.com", "googlemail.com"},
		imap: tlsAt("imap.gmail.com", 993), smtp: tlsAt("smtp.gmail.com", 465),
		methods: []Method{MethodOAuth2, MethodAppPassword}, oauth2: googleOAuth,
		note: "The administrator may have switched IMAP or app passwords off.",
	},
	{
		name: "Outlook.com", domains: []string{
			"outlook.com", "hotmail.com", "live.com", "msn.com", "windowslive.com",
			"outlook.at", "outlook.be", "outlook.de", "outlook.dk", "outlook.es", "outlook.fr", "outlook.ie", "outlook.it", "outlook.jp", "outlook.pt",
			"outlook.com.au", "outlook.com.br",
			"hotmail.be", "hotmail.ca", "hotmail.ch", "hotmail.co.jp", "hotmail.co.uk", "hotmail.com.br", "hotmail.de", "hotmail.dk", "hotmail.es",
			"hotmail.fi", "hotmail.fr", "hotmail.it", "hotmail.nl", "hotmail.no", "hotmail.se",
			"live.at", "live.be", "live.ca", "live.co.uk", "live.com.au", "live.de", "live.dk", "live.fr", "live.ie", "live.it", "live.nl", "live.no", "live.se",
		},
		mx:   []string{"olc.protection.outlook.com"},
		imap: tlsAt("outlook.office365.com", 993), smtp: startTLSAt("smtp-mail.outlook.com", 587),
		methods: []Method{MethodOAuth2}, oauth2: microsoftOAuth,
		note: "Access by IMAP has to be switched on in the settings of the mailbox.",
	},
	{
		name: "Microsoft 365", mx: []string{"mail.protection.outlook.com", "mx.microsoft"},
		imap: tlsAt("outlook.office365.com", 993), smtp: startTLSAt("smtp.office365.com", 587),
		methods: []Method{MethodOAuth2}, oauth2: microsoftOAuth,
		note: "The administrator has to allow the application, IMAP and, for sending, authenticated SMTP.",
	},
	{
		name: "iCloud", domains: []string{"icloud.com", "me.com", "mac.com"}, mx: []string{"mail.icloud.com"},
		imap: tlsAt("imap.mail.me.com", 993), smtp: startTLSAt("smtp.mail.me.com", 587),
		methods: []Method{MethodAppPassword}, note: noteOwnProgram,
		hostedNote: "The user name is the iCloud address of the Apple Account that the domain belongs to. " + noteOwnProgram,
	},
	{
		name: "Yahoo", domains: []string{
			"yahoo.com", "ymail.com", "rocketmail.com", "myyahoo.com",
			"yahoo.ca", "yahoo.co.in", "yahoo.co.nz", "yahoo.co.uk", "yahoo.com.ar", "yahoo.com.au", "yahoo.com.br", "yahoo.com.mx",
			"yahoo.de", "yahoo.es", "yahoo.fr", "yahoo.ie", "yahoo.in", "yahoo.it", "yahoo.se",
		},
		imap: tlsAt("imap.mail.yahoo.com", 993), smtp: tlsAt("smtp.mail.yahoo.com", 465),
		methods: []Method{MethodAppPassword, MethodOAuth2}, note: noteOwnProgram,
	},
	{
		name: "AOL", domains: []string{"aol.com", "aim.com", "aol.de", "aol.fr", "aol.it", "aol.co.uk"},
		imap: tlsAt("imap.aol.com", 993), smtp: tlsAt("smtp.aol.com", 465),
		methods: []Method{MethodAppPassword, MethodOAuth2}, note: noteOwnProgram,
	},
	{
		name: "Fastmail", domains: []string{"fastmail.com", "fastmail.fm"}, mx: []string{"messagingengine.com"},
		imap: tlsAt("imap.fastmail.com", 993), smtp: tlsAt("smtp.fastmail.com", 465),
		methods: []Method{MethodAppPassword}, note: noteOwnProgram,
	},
	{
		name: "GMX", domains: []string{"gmx.net", "gmx.de", "gmx.at", "gmx.ch", "gmx.eu", "gmx.org", "gmx.info", "gmx.biz"},
		imap: tlsAt("imap.gmx.net", 993), smtp: tlsAt("mail.gmx.net", 465),
		methods: []Method{MethodPassword, MethodAppPassword}, note: noteSwitchedOff,
	},
	{
		name: "GMX", domains: []string{"gmx.com", "gmx.us", "gmx.co.uk", "gmx.es", "gmx.fr", "gmx.it"},
		imap: tlsAt("imap.gmx.com", 993), smtp: tlsAt("mail.gmx.com", 465),
		methods: []Method{MethodPassword, MethodAppPassword}, note: noteSwitchedOff,
	},
	{
		name: "WEB.DE", domains: []string{"web.de"},
		imap: tlsAt("imap.web.de", 993).localLogin(), smtp: tlsAt("smtp.web.de", 465).localLogin(),
		methods: []Method{MethodPassword, MethodAppPassword}, note: noteSwitchedOff,
	},
	{
		name: "Zoho Mail", domains: []string{"zoho.com", "zohomail.com"},
		imap: tlsAt("imap.zoho.com", 993), smtp: tlsAt("smtp.zoho.com", 465),
		methods: []Method{MethodPassword, MethodAppPassword}, note: noteSwitchedOff,
	},
	zohoFor("zoho.com"), zohoFor("zoho.eu"), zohoFor("zoho.in"), zohoFor("zoho.com.au"),
	{
		name: "Mail.ru", domains: []string{"mail.ru", "inbox.ru", "list.ru", "bk.ru"}, mx: []string{"mail.ru"},
		imap: tlsAt("imap.mail.ru", 993), smtp: tlsAt("smtp.mail.ru", 465),
		methods: []Method{MethodAppPassword}, note: noteOwnProgram,
	},
	{
		name: "Yandex", domains: []string{"yandex.ru", "yandex.com", "yandex.by", "yandex.kz", "ya.ru", "narod.ru"}, mx: []string{"mx.yandex.net", "mx.yandex.ru"},
		imap: tlsAt("imap.yandex.com", 993), smtp: tlsAt("smtp.yandex.com", 465),
		methods: []Method{MethodAppPassword, MethodOAuth2}, oauth2: yandexOAuth,
		note: "Access by IMAP has to be switched on in the settings of the mailbox. " + noteOwnProgram,
	},
	{
		name: "mailbox.org", domains: []string{"mailbox.org"}, mx: []string{"mailbox.org"},
		imap: tlsAt("imap.mailbox.org", 993), smtp: tlsAt("smtp.mailbox.org", 465),
		methods: []Method{MethodPassword, MethodAppPassword}, note: noteTwoFactor,
	},
	{
		name: "Migadu", mx: []string{"migadu.com"},
		imap: tlsAt("imap.migadu.com", 993), smtp: tlsAt("smtp.migadu.com", 465),
		methods: []Method{MethodPassword},
	},
}

// zohoFor is what Zoho has for the domains of organisations, in one of its regions.
func zohoFor(region string) provider {
	return provider{
		name: "Zoho Mail", mx: []string{region},
		imap: tlsAt("imappro."+region, 993), smtp: tlsAt("smtppro."+region, 465),
		methods: []Method{MethodPassword, MethodAppPassword}, note: noteSwitchedOff,
	}
}

// within reports whether a name is one of those, or below.
func within(name string, ends []string) bool {
	for _, end := range ends {
		if name == end || strings.HasSuffix(name, "."+end) {
			return true
		}
	}
	return false
}

// byDomain finds providers by the domains of their addresses.
var byDomain = func() map[string]*provider {
	found := make(map[string]*provider)
	for i := range providers {
		for _, domain := range providers[i].domains {
			found[domain] = &providers[i]
		}
	}
	return found
}()

// providerOfDomain returns the provider whose addresses have the domain, or nil.
func providerOfDomain(domain string) *provider { return byDomain[domain] }

// providerOfMX returns the provider that has the mail server, or nil.
func providerOfMX(host string) *provider {
	for i := range providers {
		if within(host, providers[i].mx) {
			return &providers[i]
		}
	}
	return nil
}

// candidate is what the table has.
func (p *provider) candidate(source Source) Candidate {
	smtp := p.smtp
	return Candidate{
		Source: source, Provider: p.name, IMAP: p.imap, SMTP: &smtp,
		Methods: p.methods, OAuth2: p.oauth2, Note: p.note,
	}
}

// hosted is the candidate for the domain of a customer. That the domain is one is
// known from DNS alone.
func (p *provider) hosted() Candidate {
	c := p.candidate(SourceMX)
	c.Confirm = true
	if p.hostedNote != "" {
		c.hideLogin(p)
	}
	return c
}

// hideLogin takes away the user names, which are not known.
func (c *Candidate) hideLogin(p *provider) {
	c.Note, c.IMAP.Username = p.hostedNote, ""
	if c.SMTP != nil {
		c.SMTP.Username = ""
	}
}

// recognise adds what the table knows of the servers of a candidate that was learned
// elsewhere.
func (c *Candidate) recognise() {
	if c.Provider != "" {
		return
	}
	for i := range providers {
		p := &providers[i]
		if p.imap.Host == c.IMAP.Host {
			c.Provider, c.Methods, c.OAuth2, c.Note = p.name, p.methods, p.oauth2, p.note
			if p.hostedNote != "" && c.Source != SourceAutoconfig {
				c.hideLogin(p)
			}
			return
		}
	}
}
