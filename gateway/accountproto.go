package gateway

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/secret"
)

// accountProto is an account as it is answered: without its credentials.
func (s *accountService) accountProto(a *account.Account) *posternv1.Account {
	out := settingsProto(a)
	out.Imap.Unverified = s.connector.Unverified(&a.IMAP)
	if a.SMTP != nil {
		out.Smtp.Unverified = s.connector.Unverified(a.SMTP)
	}
	for _, server := range []*posternv1.MailServer{out.GetImap(), out.GetSmtp()} {
		if oauth := server.GetOauth2(); oauth != nil {
			oauth.ClientSecret, oauth.RefreshToken, oauth.AccessToken, oauth.ExpireTime = "", "", "", nil
		} else if server != nil {
			server.Credential = nil
		}
	}
	out.State = posternv1.Account_State(posternv1.Account_State_value[string(a.Status.State)])
	out.StateDetail = a.Status.Detail
	out.Capabilities = a.Status.Capabilities
	out.LastEventTime = timeProto(a.Status.LastEventTime)
	out.Counters = &posternv1.Account_Counters{
		Events: a.Status.Counters.Events, Connects: a.Status.Counters.Connects, Failures: a.Status.Counters.Failures,
	}
	out.CreateTime, out.UpdateTime = timeProto(a.CreateTime), timeProto(a.UpdateTime)
	out.Etag = a.Etag
	return out
}

// settingsProto is what of an account can be set, credentials included. It is
// what an update changes and must not leave the process.
func settingsProto(a *account.Account) *posternv1.Account {
	out := &posternv1.Account{
		DisplayName: a.DisplayName,
		Email:       a.Email,
		Imap:        serverProto(&a.IMAP),
		Labels:      a.Labels,
		Backfill:    posternv1.Account_Backfill(posternv1.Account_Backfill_value[string(a.Backfill)]),
		Watch: &posternv1.Account_WatchPolicy{
			ExcludedFolders: a.Watch.ExcludedFolders, IdleFolders: a.Watch.IdleFolders,
		},
	}
	if a.ID != "" {
		out.Name = event.AccountName(a.ID)
	}
	if a.SMTP != nil {
		out.Smtp = serverProto(a.SMTP)
	}
	if a.Sending != (account.SendingPolicy{}) {
		out.Sending = &posternv1.Account_SendingPolicy{
			MaxConcurrent: int32(a.Sending.MaxConcurrent), MaxPerMinute: int32(a.Sending.MaxPerMinute),
		}
	}
	if a.Watch.PollInterval > 0 {
		out.Watch.PollInterval = durationpb.New(a.Watch.PollInterval)
	}
	return out
}

func serverProto(e *account.Endpoint) *posternv1.MailServer {
	out := &posternv1.MailServer{
		Host:     e.Host,
		Port:     int32(e.Port),
		TlsMode:  posternv1.MailServer_TlsMode(posternv1.MailServer_TlsMode_value[string(e.TLSMode)]),
		Username: e.Username,
	}
	if !e.Trust.IsZero() {
		out.Tls = &posternv1.MailServer_Trust{CaCertificates: e.Trust.Authorities, PinnedKeys: e.Trust.Pins}
	}
	switch {
	case e.OAuth2 != nil:
		out.Auth = posternv1.MailServer_OAUTH2
		out.Credential = &posternv1.MailServer_Oauth2{Oauth2: &posternv1.OAuth2{
			TokenUrl:     e.OAuth2.TokenURL,
			ClientId:     e.OAuth2.ClientID,
			ClientSecret: e.OAuth2.ClientSecret.Reveal(),
			RefreshToken: e.OAuth2.RefreshToken.Reveal(),
			AccessToken:  e.OAuth2.AccessToken.Reveal(),
			ExpireTime:   timeProto(e.OAuth2.Expiry),
			Scopes:       e.OAuth2.Scopes,
		}}
	case !e.Password.IsZero():
		out.Auth = posternv1.MailServer_PASSWORD
		out.Credential = &posternv1.MailServer_Password{Password: e.Password.Reveal()}
	}
	return out
}

// applySettings makes the settings of a those of in, credentials included.
// What the API has no field for stays.
func applySettings(a *account.Account, in *posternv1.Account) {
	a.DisplayName = in.GetDisplayName()
	a.Email = in.GetEmail()
	a.IMAP = endpoint(in.GetImap())
	a.SMTP = nil
	if in.GetSmtp() != nil {
		smtp := endpoint(in.GetSmtp())
		a.SMTP = &smtp
	}
	a.Labels = in.GetLabels()
	if backfill := in.GetBackfill(); backfill != posternv1.Account_BACKFILL_UNSPECIFIED {
		a.Backfill = account.Backfill(backfill.String())
	}
	a.Watch.PollInterval = in.GetWatch().GetPollInterval().AsDuration()
	a.Watch.ExcludedFolders = in.GetWatch().GetExcludedFolders()
	a.Watch.IdleFolders = in.GetWatch().GetIdleFolders()
	a.Sending = account.SendingPolicy{
		MaxConcurrent: int(in.GetSending().GetMaxConcurrent()), MaxPerMinute: int(in.GetSending().GetMaxPerMinute()),
	}
}

func endpoint(in *posternv1.MailServer) account.Endpoint {
	out := account.Endpoint{Host: in.GetHost(), Port: int(in.GetPort()), Username: in.GetUsername()}
	out.Trust = account.Trust{Authorities: in.GetTls().GetCaCertificates(), Pins: in.GetTls().GetPinnedKeys()}
	if mode := in.GetTlsMode(); mode != posternv1.MailServer_TLS_MODE_UNSPECIFIED {
		out.TLSMode = account.TLSMode(mode.String())
	}
	if oauth := in.GetOauth2(); oauth != nil {
		out.OAuth2 = &account.OAuth2{
			TokenURL:     oauth.GetTokenUrl(),
			ClientID:     oauth.GetClientId(),
			ClientSecret: secret.New(oauth.GetClientSecret()),
			RefreshToken: secret.New(oauth.GetRefreshToken()),
			AccessToken:  secret.New(oauth.GetAccessToken()),
			Scopes:       oauth.GetScopes(),
		}
		if oauth.GetExpireTime() != nil {
			out.OAuth2.Expiry = oauth.GetExpireTime().AsTime().Truncate(time.Second)
		}
		return out
	}
	out.Password = secret.New(in.GetPassword())
	return out
}
