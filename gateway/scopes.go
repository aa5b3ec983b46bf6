package gateway

import (
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/access"
)

// need is what a caller must have for a method: all of some scopes and, where
// any are named, one of others. unbound says that no token may that is bound to
// accounts, because what it does concerns others too, and anybody that whoever
// shows who they are may.
type need struct {
	all, any []access.Scope
	unbound  bool
	anybody  bool
}

func needsAll(scopes ...access.Scope) need { return need{all: scopes} }
func needsAny(scopes ...access.Scope) need { return need{any: scopes} }

// byUnbound is the need of who is not bound to accounts.
func (n need) byUnbound() need {
	n.unbound = true
	return n
}

// needs says what each method of the contract needs. A method without a row can
// be called by nobody. What hangs on a request's content besides is in
// [submissionNeeds] and [webhookNeeds].
var needs = map[string]need{
	posternv1.AccountService_CreateAccount_FullMethodName:    needsAll(access.AccountsWrite),
	posternv1.AccountService_GetAccount_FullMethodName:       needsAll(access.AccountsRead),
	posternv1.AccountService_ListAccounts_FullMethodName:     needsAll(access.AccountsRead),
	posternv1.AccountService_UpdateAccount_FullMethodName:    needsAll(access.AccountsWrite),
	posternv1.AccountService_DeleteAccount_FullMethodName:    needsAll(access.AccountsWrite),
	posternv1.AccountService_VerifyAccount_FullMethodName:    needsAll(access.AccountsWrite),
	posternv1.AccountService_DiscoverAccount_FullMethodName:  needsAll(access.AccountsWrite),
	posternv1.AccountService_PauseAccount_FullMethodName:     needsAll(access.AccountsWrite),
	posternv1.AccountService_ResumeAccount_FullMethodName:    needsAll(access.AccountsWrite),
	posternv1.AccountService_ReconnectAccount_FullMethodName: needsAll(access.AccountsWrite),
	posternv1.AccountService_ResyncAccount_FullMethodName:    needsAll(access.AccountsWrite),

	posternv1.FolderService_ListFolders_FullMethodName:  needsAll(access.MessagesRead),
	posternv1.FolderService_GetFolder_FullMethodName:    needsAll(access.MessagesRead),
	posternv1.FolderService_CreateFolder_FullMethodName: needsAll(access.MessagesWrite),
	posternv1.FolderService_UpdateFolder_FullMethodName: needsAll(access.MessagesWrite),
	posternv1.FolderService_DeleteFolder_FullMethodName: needsAll(access.MessagesWrite),
	posternv1.FolderService_EmptyFolder_FullMethodName:  needsAll(access.MessagesWrite),
	posternv1.FolderService_GetQuota_FullMethodName:     needsAll(access.MessagesRead),

	posternv1.MessageService_ListMessages_FullMethodName:                    needsAll(access.MessagesRead),
	posternv1.MessageService_GetMessage_FullMethodName:                      needsAll(access.MessagesRead),
	posternv1.MessageService_DownloadMessage_FullMethodName:                 needsAll(access.MessagesRead),
	posternv1.MessageService_DownloadAttachment_FullMethodName:              needsAll(access.MessagesRead),
	posternv1.MessageService_BatchGetMessages_FullMethodName:                needsAll(access.MessagesRead),
	posternv1.MessageService_LookupMessages_FullMethodName:                  needsAll(access.MessagesRead),
	posternv1.MessageService_UpdateMessage_FullMethodName:                   needsAll(access.MessagesWrite),
	posternv1.MessageService_BatchModifyMessages_FullMethodName:             needsAll(access.MessagesWrite),
	posternv1.MessageService_BatchModifyMessagesWithProgress_FullMethodName: needsAll(access.MessagesWrite),
	posternv1.MessageService_MoveMessage_FullMethodName:                     needsAll(access.MessagesWrite),
	posternv1.MessageService_CopyMessage_FullMethodName:                     needsAll(access.MessagesWrite),
	posternv1.MessageService_TrashMessage_FullMethodName:                    needsAll(access.MessagesWrite),
	posternv1.MessageService_DeleteMessage_FullMethodName:                   needsAll(access.MessagesWrite),
	posternv1.MessageService_ImportMessage_FullMethodName:                   needsAll(access.MessagesWrite),

	posternv1.DraftService_CreateDraft_FullMethodName: needsAll(access.MessagesWrite),
	posternv1.DraftService_GetDraft_FullMethodName:    needsAll(access.MessagesRead),
	posternv1.DraftService_ListDrafts_FullMethodName:  needsAll(access.MessagesRead),
	posternv1.DraftService_UpdateDraft_FullMethodName: needsAll(access.MessagesWrite),
	posternv1.DraftService_SendDraft_FullMethodName:   needsAll(access.MessagesWrite, access.SubmissionsSend),
	posternv1.DraftService_DeleteDraft_FullMethodName: needsAll(access.MessagesWrite),

	posternv1.ThreadService_ListThreads_FullMethodName: needsAll(access.MessagesRead),
	posternv1.ThreadService_GetThread_FullMethodName:   needsAll(access.MessagesRead),

	posternv1.SubmissionService_CreateSubmission_FullMethodName: needsAll(access.SubmissionsSend),
	posternv1.SubmissionService_MergeSubmissions_FullMethodName: needsAll(access.SubmissionsSend),
	posternv1.SubmissionService_GetSubmission_FullMethodName:    needsAll(access.SubmissionsRead),
	posternv1.SubmissionService_ListSubmissions_FullMethodName:  needsAll(access.SubmissionsRead),
	posternv1.SubmissionService_CancelSubmission_FullMethodName: needsAll(access.SubmissionsSend),
	posternv1.SubmissionService_RetrySubmission_FullMethodName:  needsAll(access.SubmissionsSend),

	posternv1.UploadService_CreateUpload_FullMethodName: needsAny(access.MessagesWrite, access.SubmissionsSend),

	posternv1.BlockService_CreateBlock_FullMethodName: needsAll(access.SubmissionsSend),
	posternv1.BlockService_GetBlock_FullMethodName:    needsAll(access.SubmissionsRead),
	posternv1.BlockService_ListBlocks_FullMethodName:  needsAll(access.SubmissionsRead),
	posternv1.BlockService_DeleteBlock_FullMethodName: needsAll(access.SubmissionsSend),

	posternv1.TemplateService_CreateTemplate_FullMethodName: needsAll(access.TemplatesWrite).byUnbound(),
	posternv1.TemplateService_GetTemplate_FullMethodName:    needsAll(access.TemplatesRead),
	posternv1.TemplateService_ListTemplates_FullMethodName:  needsAll(access.TemplatesRead),
	posternv1.TemplateService_UpdateTemplate_FullMethodName: needsAll(access.TemplatesWrite).byUnbound(),
	posternv1.TemplateService_DeleteTemplate_FullMethodName: needsAll(access.TemplatesWrite).byUnbound(),

	posternv1.EventService_ListEvents_FullMethodName:        needsAll(access.EventsRead),
	posternv1.EventService_WatchEvents_FullMethodName:       needsAll(access.EventsRead),
	posternv1.EventService_CreateEventTicket_FullMethodName: needsAll(access.EventsRead),
	posternv1.EventService_GetEventCursor_FullMethodName:    needsAll(access.EventsRead),

	posternv1.WebhookService_CreateWebhook_FullMethodName:       needsAll(access.WebhooksAdmin),
	posternv1.WebhookService_GetWebhook_FullMethodName:          needsAll(access.WebhooksAdmin),
	posternv1.WebhookService_ListWebhooks_FullMethodName:        needsAll(access.WebhooksAdmin),
	posternv1.WebhookService_UpdateWebhook_FullMethodName:       needsAll(access.WebhooksAdmin),
	posternv1.WebhookService_DeleteWebhook_FullMethodName:       needsAll(access.WebhooksAdmin),
	posternv1.WebhookService_TestWebhook_FullMethodName:         needsAll(access.WebhooksAdmin),
	posternv1.WebhookService_RotateWebhookSecret_FullMethodName: needsAll(access.WebhooksAdmin),
	posternv1.WebhookService_EnableWebhook_FullMethodName:       needsAll(access.WebhooksAdmin),
	posternv1.WebhookService_DisableWebhook_FullMethodName:      needsAll(access.WebhooksAdmin),
	posternv1.WebhookService_ReplayWebhook_FullMethodName:       needsAll(access.WebhooksAdmin),
	posternv1.WebhookService_ListDeliveries_FullMethodName:      needsAll(access.WebhooksAdmin),
	posternv1.WebhookService_ListDeadLetters_FullMethodName:     needsAll(access.WebhooksAdmin),
	posternv1.WebhookService_RedriveDeadLetters_FullMethodName:  needsAll(access.WebhooksAdmin),
	posternv1.WebhookService_DeleteDeadLetter_FullMethodName:    needsAll(access.WebhooksAdmin),

	posternv1.TokenService_CreateToken_FullMethodName: needsAll(access.TokensAdmin),
	posternv1.TokenService_GetToken_FullMethodName:    needsAll(access.TokensAdmin),
	posternv1.TokenService_ListTokens_FullMethodName:  needsAll(access.TokensAdmin),
	posternv1.TokenService_UpdateToken_FullMethodName: needsAll(access.TokensAdmin),
	posternv1.TokenService_RevokeToken_FullMethodName: needsAll(access.TokensAdmin),
	posternv1.TokenService_DeleteToken_FullMethodName: needsAll(access.TokensAdmin),
	posternv1.TokenService_WhoAmI_FullMethodName:      {anybody: true},

	posternv1.AuditService_ListAuditEntries_FullMethodName: {all: []access.Scope{access.Admin}, unbound: true},
}

// missing are the scopes that somebody lacks for it, nil when none.
func (n need) missing(grant access.Grant) []access.Scope {
	var lacks []access.Scope
	for _, scope := range n.all {
		if !grant.Has(scope) {
			lacks = append(lacks, scope)
		}
	}
	if len(n.any) > 0 && !slices.ContainsFunc(n.any, grant.Has) {
		lacks = append(lacks, n.any...)
	}
	return lacks
}

// mayCall refuses a method that the caller has no scope for.
func mayCall(who access.Principal, method string) error {
	n, ok := needs[method]
	if !ok {
		if !isMethod(method) {
			return nil // it is answered that there is none
		}
		return refuse(codes.PermissionDenied, reasonScopeMissing, "Nobody may call %s.", method)
	}
	if err := n.check(who.Grant, "This call"); err != nil {
		return err
	}
	if n.unbound && who.Bound() {
		return refuse(codes.PermissionDenied, reasonGrantExceeded,
			"The token is bound to some accounts, and this call is about what belongs to none.")
	}
	return nil
}

// isMethod reports whether there is a method of that name.
func isMethod(name string) bool {
	_, is := methodOf(name)
	return is
}

// methodOf finds a method by the name that calls have it under.
func methodOf(name string) (protoreflect.MethodDescriptor, bool) {
	full := protoreflect.FullName(strings.ReplaceAll(strings.TrimPrefix(name, "/"), "/", "."))
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(full)
	m, is := found.(protoreflect.MethodDescriptor)
	return m, err == nil && is
}

// methodName is the name that calls have a method under.
func methodName(m protoreflect.MethodDescriptor) string {
	return "/" + string(m.Parent().FullName()) + "/" + string(m.Name())
}

// check refuses a grant that lacks something. what is that which needs it.
func (n need) check(grant access.Grant, what string) error {
	lacks := n.missing(grant)
	if len(lacks) == 0 {
		return nil
	}
	names := make([]string, len(lacks))
	for i, scope := range lacks {
		names[i] = string(scope)
	}
	how := "the scope"
	if len(n.any) > 0 && len(names) > 1 {
		how = "one of the scopes"
	} else if len(names) > 1 {
		how = "the scopes"
	}
	list := strings.Join(names, ", ")
	return refuse(codes.PermissionDenied, reasonScopeMissing,
		"%s needs a token with %s %s.", what, how, list).with("scopes", list)
}
