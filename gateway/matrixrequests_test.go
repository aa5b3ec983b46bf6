package gateway_test

import (
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/access"
)

// target is what a request is about: names of things that are there, or of the like
// that are not.
type target struct {
	account, folder, message, attachment, thread, draft, submission, block, webhook, template, token, cursor string
	// created is the id of an account to be made.
	created string
	// team is the label of the account.
	team string
	// binding is what a token to be made is bound to.
	binding access.Grant
}

func (x target) labels() map[string]string { return map[string]string{"team": x.team} }

// with is the target with other names, the same everywhere they occur.
func (x target) with(replace ...string) target {
	r := strings.NewReplacer(replace...)
	for _, field := range []*string{
		&x.account, &x.folder, &x.message, &x.attachment, &x.thread, &x.draft, &x.submission, &x.block, &x.webhook, &x.template, &x.token, &x.created,
	} {
		*field = r.Replace(*field)
	}
	x.binding.Accounts = slices.Clone(x.binding.Accounts)
	for i := range x.binding.Accounts {
		x.binding.Accounts[i] = r.Replace(x.binding.Accounts[i])
	}
	return x
}

// row is what the matrix knows of a method, in words of its own: a mistake in the
// gateway's table is one that the two disagree about.
type row struct {
	// needs are scopes of which one is enough, and also those that are needed with it.
	needs, also []access.Scope
	// unbound says that who is bound to accounts may not, anybody that all may who
	// show who they are.
	unbound, anybody bool
	// request makes a valid request; more are the further messages of a stream.
	request func(x target) proto.Message
	more    []proto.Message
	// spend names what a call uses up, and so has to be made anew for each.
	spend string
	// passes are reasons for which a call fails that was let in: what it takes for it
	// to do its work is not there.
	passes string
}

func scopes(s ...access.Scope) []access.Scope { return s }

func mask(paths ...string) *fieldmaskpb.FieldMask { return &fieldmaskpb.FieldMask{Paths: paths} }

// The scopes that most rows name.
var (
	readAccounts  = scopes(access.AccountsRead)
	writeAccounts = scopes(access.AccountsWrite)
	readMail      = scopes(access.MessagesRead)
	writeMail     = scopes(access.MessagesWrite)
	readSent      = scopes(access.SubmissionsRead)
	send          = scopes(access.SubmissionsSend)
	readEvents    = scopes(access.EventsRead)
	hooks         = scopes(access.WebhooksAdmin)
	tokens        = scopes(access.TokensAdmin)
)

func text(to string) *posternv1.Submission {
	return &posternv1.Submission{
		To: []*posternv1.Address{{Address: to}}, Subject: "canary", Text: "canary", SendTime: timestamppb.New(time.Now().Add(24 * time.Hour)),
	}
}

// rows has one for every method of the contract.
var rows = map[string]row{
	"AccountService/CreateAccount": {needs: writeAccounts, request: func(x target) proto.Message {
		return &posternv1.CreateAccountRequest{AccountId: x.created, Account: &posternv1.Account{
			Email: "new@example.com", Labels: map[string]string{"team": "sales"},
			Imap: &posternv1.MailServer{Host: "imap.example.com", Credential: &posternv1.MailServer_Password{Password: "secret"}},
		}}
	}},
	"AccountService/GetAccount":   {needs: readAccounts, request: func(x target) proto.Message { return &posternv1.GetAccountRequest{Name: x.account} }},
	"AccountService/ListAccounts": {needs: readAccounts, request: func(target) proto.Message { return &posternv1.ListAccountsRequest{} }},
	"AccountService/UpdateAccount": {needs: writeAccounts, request: func(x target) proto.Message {
		return &posternv1.UpdateAccountRequest{Account: &posternv1.Account{Name: x.account, DisplayName: "canary"}}
	}},
	"AccountService/DeleteAccount": {needs: writeAccounts, spend: "account", request: func(x target) proto.Message { return &posternv1.DeleteAccountRequest{Name: x.account} }},
	"AccountService/VerifyAccount": {needs: writeAccounts, request: func(x target) proto.Message { return &posternv1.VerifyAccountRequest{Name: x.account} }},
	"AccountService/DiscoverAccount": {needs: writeAccounts, request: func(target) proto.Message {
		return &posternv1.DiscoverAccountRequest{Email: "new@gmail.com"}
	}},
	"AccountService/PauseAccount":     {needs: writeAccounts, spend: "account", request: func(x target) proto.Message { return &posternv1.PauseAccountRequest{Name: x.account} }},
	"AccountService/ResumeAccount":    {needs: writeAccounts, request: func(x target) proto.Message { return &posternv1.ResumeAccountRequest{Name: x.account} }},
	"AccountService/ReconnectAccount": {needs: writeAccounts, request: func(x target) proto.Message { return &posternv1.ReconnectAccountRequest{Name: x.account} }},
	"AccountService/ResyncAccount":    {needs: writeAccounts, request: func(x target) proto.Message { return &posternv1.ResyncAccountRequest{Name: x.account} }},

	"FolderService/ListFolders": {needs: readMail, request: func(x target) proto.Message { return &posternv1.ListFoldersRequest{Parent: x.account} }},
	"FolderService/GetFolder":   {needs: readMail, request: func(x target) proto.Message { return &posternv1.GetFolderRequest{Name: x.folder} }},
	"FolderService/CreateFolder": {needs: writeMail, request: func(x target) proto.Message {
		return &posternv1.CreateFolderRequest{Parent: x.account, Folder: &posternv1.Folder{Path: []string{"canary " + freshID()}}}
	}},
	"FolderService/UpdateFolder": {needs: writeMail, spend: "folder", request: func(x target) proto.Message {
		return &posternv1.UpdateFolderRequest{Folder: &posternv1.Folder{Name: x.folder, Path: []string{"canary " + freshID()}}, UpdateMask: mask("path")}
	}},
	"FolderService/DeleteFolder": {needs: writeMail, spend: "folder", request: func(x target) proto.Message { return &posternv1.DeleteFolderRequest{Name: x.folder} }},
	"FolderService/EmptyFolder": {needs: writeMail, spend: "folder", passes: "ARGUMENT_INVALID", request: func(x target) proto.Message {
		return &posternv1.EmptyFolderRequest{Name: x.folder}
	}},
	"FolderService/GetQuota": {needs: readMail, passes: "IMAP_CANNOT", request: func(x target) proto.Message {
		return &posternv1.GetQuotaRequest{Name: x.account + "/quota"}
	}},

	"MessageService/ListMessages": {needs: readMail, request: func(x target) proto.Message {
		return &posternv1.ListMessagesRequest{Parent: x.account, Folder: x.folder}
	}},
	"MessageService/GetMessage":      {needs: readMail, request: func(x target) proto.Message { return &posternv1.GetMessageRequest{Name: x.message} }},
	"MessageService/DownloadMessage": {needs: readMail, request: func(x target) proto.Message { return &posternv1.DownloadMessageRequest{Name: x.message} }},
	"MessageService/DownloadAttachment": {needs: readMail, request: func(x target) proto.Message {
		return &posternv1.DownloadAttachmentRequest{Name: x.attachment}
	}},
	"MessageService/BatchGetMessages": {needs: readMail, request: func(x target) proto.Message {
		return &posternv1.BatchGetMessagesRequest{Parent: x.account, Names: []string{x.message}}
	}},
	"MessageService/LookupMessages": {needs: readMail, request: func(x target) proto.Message {
		return &posternv1.LookupMessagesRequest{Parent: x.account, MessageId: "canary@example.com"}
	}},
	"MessageService/UpdateMessage": {needs: writeMail, request: func(x target) proto.Message {
		return &posternv1.UpdateMessageRequest{Message: &posternv1.Message{Name: x.message, Flags: []string{`\Flagged`}}, UpdateMask: mask("flags")}
	}},
	"MessageService/BatchModifyMessages": {needs: writeMail, request: func(x target) proto.Message {
		return &posternv1.BatchModifyMessagesRequest{Parent: x.account, Names: []string{x.message}, AddFlags: []string{"canary"}}
	}},
	"MessageService/BatchModifyMessagesWithProgress": {needs: writeMail, request: func(x target) proto.Message {
		return &posternv1.BatchModifyMessagesWithProgressRequest{Batch: &posternv1.BatchModifyMessagesRequest{
			Parent: x.account, Folder: x.folder, Filter: "subject:canary", AddFlags: []string{"canary"},
		}}
	}},
	"MessageService/MoveMessage": {needs: writeMail, spend: "message", request: func(x target) proto.Message {
		return &posternv1.MoveMessageRequest{Name: x.message, Folder: x.folder}
	}},
	"MessageService/CopyMessage":   {needs: writeMail, request: func(x target) proto.Message { return &posternv1.CopyMessageRequest{Name: x.message, Folder: x.folder} }},
	"MessageService/TrashMessage":  {needs: writeMail, spend: "message", request: func(x target) proto.Message { return &posternv1.TrashMessageRequest{Name: x.message} }},
	"MessageService/DeleteMessage": {needs: writeMail, spend: "message", request: func(x target) proto.Message { return &posternv1.DeleteMessageRequest{Name: x.message} }},
	"MessageService/ImportMessage": {needs: writeMail, request: func(x target) proto.Message {
		return &posternv1.ImportMessageRequest{Piece: &posternv1.ImportMessageRequest_Target_{
			Target: &posternv1.ImportMessageRequest_Target{Parent: x.account, Folder: x.folder},
		}}
	}, more: []proto.Message{&posternv1.ImportMessageRequest{Piece: &posternv1.ImportMessageRequest_Data{Data: []byte(canaryMail)}}}},

	"DraftService/CreateDraft": {needs: writeMail, request: func(x target) proto.Message {
		return &posternv1.CreateDraftRequest{Parent: x.account, Draft: &posternv1.Draft{Subject: "canary", Text: "canary"}}
	}},
	"DraftService/GetDraft":   {needs: readMail, request: func(x target) proto.Message { return &posternv1.GetDraftRequest{Name: x.draft} }},
	"DraftService/ListDrafts": {needs: readMail, request: func(x target) proto.Message { return &posternv1.ListDraftsRequest{Parent: x.account} }},
	"DraftService/UpdateDraft": {needs: writeMail, spend: "draft", request: func(x target) proto.Message {
		return &posternv1.UpdateDraftRequest{Draft: &posternv1.Draft{Name: x.draft, Subject: "canary again"}, UpdateMask: mask("subject")}
	}},
	"DraftService/SendDraft": {needs: writeMail, also: send, spend: "draft", request: func(x target) proto.Message {
		return &posternv1.SendDraftRequest{Name: x.draft, SendTime: timestamppb.New(time.Now().Add(24 * time.Hour))}
	}},
	"DraftService/DeleteDraft": {needs: writeMail, spend: "draft", request: func(x target) proto.Message { return &posternv1.DeleteDraftRequest{Name: x.draft} }},

	"ThreadService/ListThreads": {needs: readMail, request: func(x target) proto.Message {
		return &posternv1.ListThreadsRequest{Parent: x.account, Folder: x.folder}
	}},
	"ThreadService/GetThread": {needs: readMail, request: func(x target) proto.Message { return &posternv1.GetThreadRequest{Name: x.thread} }},

	"SubmissionService/CreateSubmission": {needs: send, request: func(x target) proto.Message {
		return &posternv1.CreateSubmissionRequest{Parent: x.account, Submission: text("bob@example.com")}
	}},
	"SubmissionService/MergeSubmissions": {needs: send, request: func(x target) proto.Message {
		shared := text("")
		shared.To = nil
		return &posternv1.MergeSubmissionsRequest{Parent: x.account, Submission: shared, Recipients: []*posternv1.MergeSubmissionsRequest_Recipient{
			{To: &posternv1.Address{Address: "bob@example.com"}},
		}}
	}},
	"SubmissionService/GetSubmission":   {needs: readSent, request: func(x target) proto.Message { return &posternv1.GetSubmissionRequest{Name: x.submission} }},
	"SubmissionService/ListSubmissions": {needs: readSent, request: func(x target) proto.Message { return &posternv1.ListSubmissionsRequest{Parent: x.account} }},
	"SubmissionService/CancelSubmission": {needs: send, spend: "submission", request: func(x target) proto.Message {
		return &posternv1.CancelSubmissionRequest{Name: x.submission}
	}},
	"SubmissionService/RetrySubmission": {needs: send, passes: "SUBMISSION_STATE", request: func(x target) proto.Message {
		return &posternv1.RetrySubmissionRequest{Name: x.submission}
	}},
	"UploadService/CreateUpload": {needs: scopes(access.MessagesWrite, access.SubmissionsSend), request: func(x target) proto.Message {
		return &posternv1.CreateUploadRequest{Piece: &posternv1.CreateUploadRequest_Target_{
			Target: &posternv1.CreateUploadRequest_Target{Parent: x.account, Filename: "canary", ContentType: "text/plain"},
		}}
	}, more: []proto.Message{&posternv1.CreateUploadRequest{Piece: &posternv1.CreateUploadRequest_Data{Data: []byte("canary")}}}},

	"BlockService/CreateBlock": {needs: send, request: func(x target) proto.Message {
		return &posternv1.CreateBlockRequest{Parent: x.account, Block: &posternv1.Block{Address: "canary@example.com"}}
	}},
	"BlockService/GetBlock":    {needs: readSent, request: func(x target) proto.Message { return &posternv1.GetBlockRequest{Name: x.block} }},
	"BlockService/ListBlocks":  {needs: readSent, request: func(x target) proto.Message { return &posternv1.ListBlocksRequest{Parent: x.account} }},
	"BlockService/DeleteBlock": {needs: send, spend: "block", request: func(x target) proto.Message { return &posternv1.DeleteBlockRequest{Name: x.block} }},

	"TemplateService/CreateTemplate": {needs: scopes(access.TemplatesWrite), unbound: true, request: func(target) proto.Message {
		return &posternv1.CreateTemplateRequest{Template: &posternv1.Template{Subject: "x", Text: "x"}}
	}},
	"TemplateService/GetTemplate": {needs: scopes(access.TemplatesRead), request: func(x target) proto.Message { return &posternv1.GetTemplateRequest{Name: x.template} }},
	"TemplateService/ListTemplates": {needs: scopes(access.TemplatesRead), request: func(target) proto.Message {
		return &posternv1.ListTemplatesRequest{}
	}},
	"TemplateService/UpdateTemplate": {needs: scopes(access.TemplatesWrite), unbound: true, request: func(x target) proto.Message {
		return &posternv1.UpdateTemplateRequest{Template: &posternv1.Template{Name: x.template, Subject: "y"}}
	}},
	"TemplateService/DeleteTemplate": {needs: scopes(access.TemplatesWrite), unbound: true, spend: "template", request: func(x target) proto.Message {
		return &posternv1.DeleteTemplateRequest{Name: x.template}
	}},

	"EventService/ListEvents":  {needs: readEvents, request: func(x target) proto.Message { return &posternv1.ListEventsRequest{Parent: x.account} }},
	"EventService/WatchEvents": {needs: readEvents, request: func(x target) proto.Message { return &posternv1.WatchEventsRequest{Accounts: []string{x.account}} }},
	"EventService/CreateEventTicket": {needs: readEvents, request: func(x target) proto.Message {
		return &posternv1.CreateEventTicketRequest{Accounts: []string{x.account}}
	}},
	"EventService/GetEventCursor": {needs: readEvents, request: func(target) proto.Message { return &posternv1.GetEventCursorRequest{} }},

	"TokenService/CreateToken": {needs: tokens, request: func(x target) proto.Message {
		token := &posternv1.Token{DisplayName: "canary", Scopes: []string{"tokens:admin"}, AccountLabels: x.binding.Labels}
		for _, id := range x.binding.Accounts {
			token.Accounts = append(token.Accounts, "accounts/"+id)
		}
		return &posternv1.CreateTokenRequest{Token: token}
	}},
	"TokenService/GetToken":   {needs: tokens, spend: "token", request: func(x target) proto.Message { return &posternv1.GetTokenRequest{Name: x.token} }},
	"TokenService/ListTokens": {needs: tokens, request: func(target) proto.Message { return &posternv1.ListTokensRequest{} }},
	"TokenService/UpdateToken": {needs: tokens, spend: "token", request: func(x target) proto.Message {
		return &posternv1.UpdateTokenRequest{Token: &posternv1.Token{Name: x.token, DisplayName: "canary again"}}
	}},
	"TokenService/RevokeToken": {needs: tokens, spend: "token", request: func(x target) proto.Message { return &posternv1.RevokeTokenRequest{Name: x.token} }},
	"TokenService/DeleteToken": {needs: tokens, spend: "token", request: func(x target) proto.Message { return &posternv1.DeleteTokenRequest{Name: x.token} }},
	"TokenService/WhoAmI":      {anybody: true, request: func(target) proto.Message { return &posternv1.WhoAmIRequest{} }},

	"AuditService/ListAuditEntries": {needs: scopes(access.Admin), unbound: true, request: func(target) proto.Message { return &posternv1.ListAuditEntriesRequest{} }},

	"WebhookService/CreateWebhook": {needs: hooks, request: func(x target) proto.Message {
		return &posternv1.CreateWebhookRequest{Webhook: &posternv1.Webhook{
			Url: "https://example.com/", Accounts: []string{x.account}, AccountLabels: x.labels(), Payload: posternv1.Webhook_THIN,
		}}
	}},
	"WebhookService/GetWebhook":   {needs: hooks, request: func(x target) proto.Message { return &posternv1.GetWebhookRequest{Name: x.webhook} }},
	"WebhookService/ListWebhooks": {needs: hooks, request: func(target) proto.Message { return &posternv1.ListWebhooksRequest{} }},
	"WebhookService/UpdateWebhook": {needs: hooks, request: func(x target) proto.Message {
		return &posternv1.UpdateWebhookRequest{Webhook: &posternv1.Webhook{Name: x.webhook, DisplayName: "canary"}}
	}},
	"WebhookService/DeleteWebhook":       {needs: hooks, spend: "webhook", request: func(x target) proto.Message { return &posternv1.DeleteWebhookRequest{Name: x.webhook} }},
	"WebhookService/TestWebhook":         {needs: hooks, request: func(x target) proto.Message { return &posternv1.TestWebhookRequest{Name: x.webhook} }},
	"WebhookService/RotateWebhookSecret": {needs: hooks, request: func(x target) proto.Message { return &posternv1.RotateWebhookSecretRequest{Name: x.webhook} }},
	"WebhookService/EnableWebhook":       {needs: hooks, request: func(x target) proto.Message { return &posternv1.EnableWebhookRequest{Name: x.webhook} }},
	"WebhookService/DisableWebhook":      {needs: hooks, spend: "webhook", request: func(x target) proto.Message { return &posternv1.DisableWebhookRequest{Name: x.webhook} }},
	"WebhookService/ReplayWebhook": {needs: hooks, request: func(x target) proto.Message {
		return &posternv1.ReplayWebhookRequest{Name: x.webhook, From: &posternv1.ReplayWebhookRequest_AfterCursor{AfterCursor: x.cursor}}
	}},
	"WebhookService/ListDeliveries":     {needs: hooks, request: func(x target) proto.Message { return &posternv1.ListDeliveriesRequest{Parent: x.webhook} }},
	"WebhookService/ListDeadLetters":    {needs: hooks, request: func(x target) proto.Message { return &posternv1.ListDeadLettersRequest{Parent: x.webhook} }},
	"WebhookService/RedriveDeadLetters": {needs: hooks, request: func(x target) proto.Message { return &posternv1.RedriveDeadLettersRequest{Parent: x.webhook} }},
	"WebhookService/DeleteDeadLetter": {needs: hooks, passes: "DEAD_LETTER_NOT_FOUND", request: func(x target) proto.Message {
		return &posternv1.DeleteDeadLetterRequest{Name: x.webhook + "/deadLetters/none"}
	}},
}
