package gateway

import (
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/account"
)

// checkCredentialsStay refuses to send the credentials that are stored to servers
// which they were not given for. Nobody can read them back, and who may change where
// the servers are must not get them that way.
func checkCredentialsStay(before, after *account.Account, paths []maskPath) error {
	given := func(field string) bool { return names(paths, strings.Split(field, ".")...) }
	fields := account.Redirected(before, after, given)
	if len(fields) == 0 {
		return nil
	}
	for i := range fields {
		fields[i] = "account." + fields[i]
	}
	return credentialsRequired("The change would send a stored credential to another server: give it again, with the change.", fields...)
}

// credentialsRequired asks for credentials that are stored already.
func credentialsRequired(message string, fields ...string) *failure {
	bad := &errdetails.BadRequest{}
	for _, field := range fields {
		bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{
			Field: field, Description: "has to be given again", Reason: string(reasonCredentialRequired),
		})
	}
	return refuse(codes.InvalidArgument, reasonCredentialRequired, "%s Needed: %s.", message, strings.Join(fields, ", ")).detail(bad)
}

// forgetAccessTokens drops access tokens whose refresh token a change replaces: they
// are of another grant, and fetched anew.
func forgetAccessTokens(settings *posternv1.Account, paths []maskPath) {
	for prefix, server := range map[string]*posternv1.MailServer{"imap": settings.GetImap(), "smtp": settings.GetSmtp()} {
		oauth := server.GetOauth2()
		if oauth != nil && names(paths, prefix, "oauth2", "refresh_token") && !names(paths, prefix, "oauth2", "access_token") {
			oauth.AccessToken, oauth.ExpireTime = "", nil
		}
	}
}
