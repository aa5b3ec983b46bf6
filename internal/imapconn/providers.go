package imapconn

import (
	"strings"
	"time"
)

// Provider is what is known of the servers of one provider beyond what they
// say of themselves. The zero value is that of all others.
type Provider struct {
	// Connections is how many one account may have at a time, 0 when it is not
	// known. Other mail programs of the user count too.
	Connections int
	// IdleRenewal is the age at which IDLE is to be begun anew, 0 for the usual.
	IdleRenewal time.Duration
	// NewsBySelect says that new mail shows to none but a new SELECT: NOOP tells
	// nothing.
	NewsBySelect bool
	// SavesSent says that what is sent through the provider's SMTP server is put
	// into the Sent folder by the provider.
	SavesSent bool
}

// providers are known by the ends of their hosts' names.
var providers = []struct {
	suffixes []string
	Provider
}{
	// "Too many simultaneous connections" beyond 15 per account:
	// https://support.google.com/mail/answer/7126229.
	{[]string{"gmail.com", "googlemail.com", "google.com"}, Provider{Connections: 15, SavesSent: true}},
	// Exchange: 16 connections a user (Set-ImapSettings, MaxConnectionsPerUser),
	// https://learn.microsoft.com/powershell/module/exchange/set-imapsettings.
	{[]string{"outlook.com", "office365.com", "outlook.office.com", "hotmail.com", "live.com"}, Provider{Connections: 16, SavesSent: true}},
	// About five, by the reports of those who migrate mailboxes; and IDLE that
	// is older than three minutes is forgotten (EmailEngine restarts it so:
	// lib/email-client/imap-client.js of github.com/postalsys/emailengine).
	{[]string{"yahoo.com", "yahoo.co.jp", "aol.com", "ymail.com"}, Provider{Connections: 5, IdleRenewal: 2 * time.Minute}},
	// About five, by the same reports.
	{[]string{"mail.me.com", "icloud.com", "mac.com"}, Provider{Connections: 5}},
	// EmailEngine restarts IDLE every 55 seconds at Rambler.
	{[]string{"rambler.ru"}, Provider{IdleRenewal: 35 * time.Second}},
	// Without IDLE, and with a NOOP that shows nothing. They also insist on ID,
	// which is always sent.
	{[]string{"163.com", "126.com", "yeah.net", "netease.com"}, Provider{Connections: 5, IdleRenewal: 35 * time.Second, NewsBySelect: true}},
	// NOOP shows nothing, a new SELECT does (the same file of EmailEngine).
	{[]string{"naver.com"}, Provider{NewsBySelect: true}},
	// Throttles accounts that connect often, so few connections are kept.
	{[]string{"qq.com", "exmail.qq.com", "foxmail.com"}, Provider{Connections: 4, IdleRenewal: 5 * time.Minute}},
	// Closes IDLE after ten minutes: https://github.com/emersion/go-imap/pull/603.
	{[]string{"larksuite.com", "feishu.cn"}, Provider{IdleRenewal: 6 * time.Minute}},
}

// ProviderOf returns what is known of the provider of a host.
func ProviderOf(host string) Provider {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	for _, p := range providers {
		for _, suffix := range p.suffixes {
			if host == suffix || strings.HasSuffix(host, "."+suffix) {
				return p.Provider
			}
		}
	}
	return Provider{}
}

// PoolSize bounds the request connections of an account of the provider, so
// that watching keeps one and the user's other programs some.
func (p Provider) PoolSize(want int) int {
	if p.Connections == 0 {
		return want
	}
	return max(1, min(want, (p.Connections-1)/2))
}
