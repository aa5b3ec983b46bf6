package gateway

// errorDomain is the domain of every google.rpc.ErrorInfo that Postern sends.
const errorDomain = "postern"

// reason tells programs what went wrong. It is part of the API: a reason is
// never renamed, and there is exactly one in every error.
type reason string

// Reasons that lie with the caller.
const (
	reasonTokenInvalid       reason = "TOKEN_INVALID"
	reasonScopeMissing       reason = "SCOPE_MISSING"
	reasonGrantExceeded      reason = "GRANT_EXCEEDED"
	reasonArgumentInvalid    reason = "ARGUMENT_INVALID"
	reasonCredentialRequired reason = "CREDENTIAL_REQUIRED" //nolint:gosec // no credential, but the name of an error
	reasonBodyInvalid        reason = "BODY_INVALID"
	reasonBodyTooLarge       reason = "REQUEST_TOO_LARGE"
	reasonRouteNotFound      reason = "ROUTE_NOT_FOUND"
	reasonMethodNotAllowed   reason = "METHOD_NOT_ALLOWED"
	reasonRequestIDReused    reason = "REQUEST_ID_REUSED"
	reasonRequestInProgress  reason = "REQUEST_IN_PROGRESS"
	reasonEtagMismatch       reason = "ETAG_MISMATCH"
	reasonFilterInvalid      reason = "FILTER_INVALID"
	reasonFilterUnsupported  reason = "FILTER_UNSUPPORTED"
	reasonOrderByUnsupported reason = "ORDER_BY_UNSUPPORTED"
	reasonPageTokenMismatch  reason = "PAGE_TOKEN_MISMATCH" //nolint:gosec // no credential, but the name of an error
	reasonCursorInvalid      reason = "CURSOR_INVALID"
	reasonCursorExpired      reason = "CURSOR_EXPIRED"
	reasonSlowConsumer       reason = "SLOW_CONSUMER"
	reasonWebhookDisabled    reason = "WEBHOOK_DISABLED"
	reasonEventNotChosen     reason = "EVENT_NOT_CHOSEN"
	reasonMessageTooLarge    reason = "MESSAGE_TOO_LARGE"
	reasonMessageInvalid     reason = "MESSAGE_INVALID"
	reasonTemplateInvalid    reason = "TEMPLATE_INVALID"
	reasonTemplateFailed     reason = "TEMPLATE_FAILED"
	reasonVariableMissing    reason = "VARIABLE_MISSING"
	reasonMergeTooLarge      reason = "MERGE_TOO_LARGE"
	reasonCanceled           reason = "CANCELED"
	reasonDeadlineExceeded   reason = "DEADLINE_EXCEEDED"
)

// Reasons that say that something is not there, or is already.
const (
	reasonAccountNotFound    reason = "ACCOUNT_NOT_FOUND"
	reasonAccountExists      reason = "ACCOUNT_EXISTS"
	reasonAccountPaused      reason = "ACCOUNT_PAUSED"
	reasonFolderNotFound     reason = "FOLDER_NOT_FOUND"
	reasonFolderExists       reason = "FOLDER_EXISTS"
	reasonFolderNotEmpty     reason = "FOLDER_NOT_EMPTY"
	reasonFolderIsInbox      reason = "FOLDER_IS_INBOX"
	reasonFolderRoleMissing  reason = "FOLDER_ROLE_MISSING"
	reasonDraftNotFound      reason = "DRAFT_NOT_FOUND"
	reasonMessageGone        reason = "MESSAGE_GONE"
	reasonMessageMoved       reason = "MESSAGE_MOVED"
	reasonUIDValidityChanged reason = "UIDVALIDITY_CHANGED"
	reasonAttachmentNotFound reason = "ATTACHMENT_NOT_FOUND"
	reasonThreadNotFound     reason = "THREAD_NOT_FOUND"
	reasonSubmissionNotFound reason = "SUBMISSION_NOT_FOUND"
	reasonUploadNotFound     reason = "UPLOAD_NOT_FOUND"
	reasonWebhookNotFound    reason = "WEBHOOK_NOT_FOUND"
	reasonWebhookExists      reason = "WEBHOOK_EXISTS"
	reasonDeadLetterNotFound reason = "DEAD_LETTER_NOT_FOUND"
	reasonBlockNotFound      reason = "BLOCK_NOT_FOUND"
	reasonTemplateNotFound   reason = "TEMPLATE_NOT_FOUND"
	reasonTemplateExists     reason = "TEMPLATE_EXISTS"
	reasonTokenNotFound      reason = "TOKEN_NOT_FOUND"
	reasonTokenEnded         reason = "TOKEN_ENDED"
)

// Reasons that lie with the mail server.
const (
	reasonIMAPAuthFailed      reason = "IMAP_AUTH_FAILED"
	reasonIMAPUnavailable     reason = "IMAP_UNAVAILABLE"
	reasonIMAPTLSFailed       reason = "IMAP_TLS_FAILED"
	reasonIMAPThrottled       reason = "IMAP_THROTTLED"
	reasonIMAPConnectionLimit reason = "IMAP_CONNECTION_LIMIT"
	reasonIMAPNoPerm          reason = "IMAP_NOPERM"
	reasonIMAPCannot          reason = "IMAP_CANNOT"
	reasonIMAPProtocolError   reason = "IMAP_PROTOCOL_ERROR"
	reasonHostNotAllowed      reason = "HOST_NOT_ALLOWED"
	reasonPlaintextNotAllowed reason = "PLAINTEXT_NOT_ALLOWED"
	reasonMailboxOverQuota    reason = "MAILBOX_OVER_QUOTA"
)

// Reasons that lie with what was asked of the outbox.
const (
	reasonSMTPNotConfigured reason = "SMTP_NOT_CONFIGURED"
	reasonSubmissionState   reason = "SUBMISSION_STATE"
	reasonRecipientBlocked  reason = "RECIPIENT_BLOCKED"
)

// Reasons that lie with the gateway itself.
const (
	reasonInternal         reason = "INTERNAL"
	reasonStoreUnavailable reason = "STORE_UNAVAILABLE"
	reasonStoreFull        reason = "STORE_FULL"
	reasonRecordUnreadable reason = "RECORD_UNREADABLE"
	reasonUnavailable      reason = "UNAVAILABLE"
	reasonRateLimited      reason = "RATE_LIMITED"
	reasonLimitReached     reason = "LIMIT_REACHED"
	reasonAuditOff         reason = "AUDIT_OFF"
)
