package event

// AccountRef names the account that an event is about.
type AccountRef struct {
	Account string `json:"account"`
}

// AccountAt names an account.
func AccountAt(account string) AccountRef { return AccountRef{Account: AccountName(account)} }

func (a AccountRef) resource(string) string { return a.Account }

// addKey: an account's states come and go; the n-th event of an account is a
// fact of its own.
func (a AccountRef) addKey(k naturalKey, after uint64) { k.number(after) }

// AccountCreated is the data of account.created.
type AccountCreated struct {
	AccountRef
	Email string `json:"email,omitempty"`
}

// EventType implements [Data].
func (*AccountCreated) EventType() Type { return TypeAccountCreated }

// AccountConnected is the data of account.connected.
type AccountConnected struct{ AccountRef }

// EventType implements [Data].
func (*AccountConnected) EventType() Type { return TypeAccountConnected }

// AccountDegraded is the data of account.degraded: the mailbox is watched
// late or in part. Reason is for programs, Detail for people.
type AccountDegraded struct {
	AccountRef
	Reason string `json:"reason,omitempty"`
	Detail string `json:"detail,omitempty"`
}

// EventType implements [Data].
func (*AccountDegraded) EventType() Type { return TypeAccountDegraded }

// AccountAuthRequired is the data of account.auth_required: the server refused
// the credentials, and nothing is tried until they are replaced.
type AccountAuthRequired struct {
	AccountRef
	Reason string `json:"reason,omitempty"`
	Detail string `json:"detail,omitempty"`
}

// EventType implements [Data].
func (*AccountAuthRequired) EventType() Type { return TypeAccountAuthRequired }

// AccountUpdated is the data of account.updated; Fields are the paths of the
// account's fields that changed.
type AccountUpdated struct {
	AccountRef
	Fields []string `json:"fields,omitempty"`
}

// EventType implements [Data].
func (*AccountUpdated) EventType() Type { return TypeAccountUpdated }

// AccountPaused is the data of account.paused.
type AccountPaused struct{ AccountRef }

// EventType implements [Data].
func (*AccountPaused) EventType() Type { return TypeAccountPaused }

// AccountResumed is the data of account.resumed.
type AccountResumed struct{ AccountRef }

// EventType implements [Data].
func (*AccountResumed) EventType() Type { return TypeAccountResumed }

// AccountDeleted is the data of account.deleted.
type AccountDeleted struct{ AccountRef }

// EventType implements [Data].
func (*AccountDeleted) EventType() Type { return TypeAccountDeleted }

// AccountSyncStarted is the data of account.sync_started: all folders are
// compared with what is known.
type AccountSyncStarted struct {
	AccountRef
	Folders int `json:"folders"`
}

// EventType implements [Data].
func (*AccountSyncStarted) EventType() Type { return TypeAccountSyncStarted }

// AccountSyncCompleted is the data of account.sync_completed.
type AccountSyncCompleted struct {
	AccountRef
	Folders  int   `json:"folders"`
	Messages int64 `json:"messages,string"`
}

// EventType implements [Data].
func (*AccountSyncCompleted) EventType() Type { return TypeAccountSyncCompleted }

// AccountOwnerChanged is the data of account.owner_changed, the first event of
// a new owner: it moves the account's sequence, so that appends of a former
// owner that was only paused are refused.
type AccountOwnerChanged struct {
	AccountRef
	Node string `json:"node"`
}

// EventType implements [Data].
func (*AccountOwnerChanged) EventType() Type { return TypeAccountOwnerChanged }

func (a *AccountOwnerChanged) addKey(k naturalKey, after uint64) {
	k.number(after)
	k.text(a.Node)
}

// AccountGap is the data of account.gap: changes may have been missed that
// can no longer be found out, such as deletions during an outage in a folder
// whose UIDs were not known.
type AccountGap struct {
	AccountRef
	Folder string `json:"folder,omitempty"`
	Reason string `json:"reason"`
}

// EventType implements [Data].
func (*AccountGap) EventType() Type { return TypeAccountGap }

func (a *AccountGap) addKey(k naturalKey, after uint64) {
	k.text(a.Folder)
	k.number(after)
}
