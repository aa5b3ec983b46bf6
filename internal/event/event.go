package event

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Event is one fact about an account.
type Event struct {
	// ID is the same for the same fact, whoever computes it.
	ID      string
	Type    Type
	Account string
	// Time is when the fact was found, as its finder says; see [New].
	Time time.Time
	// Number counts the account's events without gaps, from 1. The log's
	// writer sets it.
	Number uint64
	// Checkpoint travels in a header beside the body; nil for events that move
	// no folder forward.
	Checkpoint *Checkpoint
	// Data is a pointer to one of this package's data types, or, for an event
	// of a type that this version does not know, a [json.RawMessage].
	Data any
}

// Data is what an event says beyond its type. Each type of event has a data
// type of its own, and that settles the event's type, the resource it is about
// and what makes it the same fact or another one.
type Data interface {
	// EventType is the type of the events that carry this data.
	EventType() Type
	// resource is the name of what the event is about.
	resource(account string) string
	// addKey adds the natural key. Facts that can come true more than once
	// (a connection, a flag set, unset and set again) add after, the number
	// of the account's last event when they were found; the others do not.
	addKey(k naturalKey, after uint64)
}

// New makes the event for a fact. after is the number of the account's last
// event when the fact was found (the writer's head): it tells the second
// occurrence of a recurring fact from the first, and is the same for every
// owner that could find the fact, because an owner with another head cannot
// append. found is the time of the look that found it, one and the same for
// all facts of that look. It is not part of the id, and no reader ever sees
// two times for one event, because the stored bytes are what everyone reads.
//
// New takes data over: what it quotes from the mailbox is cut to a size that
// the log takes.
func New(account string, after uint64, found time.Time, data Data) Event {
	if d, ok := data.(bounded); ok {
		d.bound()
	}
	t := data.EventType()
	k := newNaturalKey(account, t)
	data.addKey(k, after)
	return Event{
		ID:      k.id(),
		Type:    t,
		Account: account,
		Time:    found.UTC().Truncate(time.Millisecond),
		Data:    data,
	}
}

// accountSource is the beginning of the source of an account's events.
const accountSource = "/v1/accounts/"

// systemSource is the source of events that are not about an account; so far
// all of them are about webhooks.
const systemSource = "/v1/webhooks"

// Source is CloudEvents' "source" of an account's events: the account, as the
// API addresses it. Together with the id it is unique.
func Source(account string) string {
	if account == System {
		return systemSource
	}
	return accountSource + account
}

// accountOf is the inverse of [Source].
func accountOf(source string) (account string, ok bool) {
	if source == systemSource {
		return System, true
	}
	account, ok = strings.CutPrefix(source, accountSource)
	return account, ok && ValidToken(account) && account != System
}

// envelope is the structured JSON form of CloudEvents 1.0. The order of the
// fields is the order of the bytes.
type envelope struct {
	SpecVersion string `json:"specversion"`
	ID          string `json:"id"`
	Source      string `json:"source"`
	Type        Type   `json:"type"`
	Subject     string `json:"subject,omitempty"`
	Time        string `json:"time"`
	// Sequence is the CloudEvents extension of that name: the event's number,
	// padded so that text order is the account's order.
	Sequence        string          `json:"sequence,omitempty"`
	DataContentType string          `json:"datacontenttype"`
	Data            json.RawMessage `json:"data"`
}

const timeFormat = "2006-01-02T15:04:05.000Z07:00"

// Encode gives the event's body: CloudEvents 1.0 structured JSON. The log
// stores these bytes and everyone after it, webhooks included, passes them on
// as they are, so an event is encoded once, when it has its number.
func (e Event) Encode() ([]byte, error) {
	data, err := marshal(e.Data)
	if err != nil {
		return nil, fmt.Errorf("encode data of %s %s: %w", e.Type, e.ID, err)
	}
	env := envelope{
		SpecVersion:     "1.0",
		ID:              e.ID,
		Source:          Source(e.Account),
		Type:            e.Type,
		Time:            e.Time.UTC().Format(timeFormat),
		DataContentType: "application/json",
		Data:            data,
	}
	if e.Number > 0 {
		env.Sequence = fmt.Sprintf("%020d", e.Number)
	}
	if d, ok := e.Data.(Data); ok {
		env.Subject = d.resource(e.Account)
	}
	body, err := marshal(env)
	if err != nil {
		return nil, fmt.Errorf("encode %s %s: %w", e.Type, e.ID, err)
	}
	return body, nil
}

// marshal is json.Marshal without the escapes for HTML: a subject with an
// ampersand stays readable in logs and on the wire.
func marshal(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// DecodeError reports bytes that are not an event.
type DecodeError struct{ Reason string }

// Error implements error.
func (e *DecodeError) Error() string { return "not an event: " + e.Reason }

// Decode reads a body that [Event.Encode] wrote. The checkpoint is not in the
// body: it stays nil. Fields that are not known are ignored, so that older
// nodes can read what newer ones write.
func Decode(body []byte) (Event, error) {
	var env envelope
	if err := json.Unmarshal(body, &env); err != nil {
		return Event{}, &DecodeError{Reason: err.Error()}
	}
	if env.SpecVersion != "1.0" {
		return Event{}, &DecodeError{Reason: fmt.Sprintf("specversion is %q", env.SpecVersion)}
	}
	account, ok := accountOf(env.Source)
	if !ok {
		return Event{}, &DecodeError{Reason: fmt.Sprintf("source is %q", env.Source)}
	}
	at, err := time.Parse(time.RFC3339Nano, env.Time)
	if err != nil {
		return Event{}, &DecodeError{Reason: err.Error()}
	}
	e := Event{ID: env.ID, Type: env.Type, Account: account, Time: at.UTC()}
	if env.Sequence != "" {
		if e.Number, err = strconv.ParseUint(env.Sequence, 10, 64); err != nil {
			return Event{}, &DecodeError{Reason: err.Error()}
		}
	}
	e.Data, err = decodeData(env.Type, env.Data)
	return e, err
}

func decodeData(t Type, raw json.RawMessage) (any, error) {
	fresh, known := dataOf[t]
	if !known {
		return raw, nil
	}
	data := fresh()
	if err := json.Unmarshal(raw, data); err != nil {
		return nil, &DecodeError{Reason: fmt.Sprintf("data of %s: %v", t, err)}
	}
	return data, nil
}

// dataOf makes room for the data of each type.
var dataOf = map[Type]func() Data{
	TypeMessageCreated:   func() Data { return new(MessageCreated) },
	TypeMessageUpdated:   func() Data { return new(MessageUpdated) },
	TypeMessageMoved:     func() Data { return new(MessageMoved) },
	TypeMessageDeleted:   func() Data { return new(MessageDeleted) },
	TypeMessageMissing:   func() Data { return new(MessageMissing) },
	TypeMessageBounced:   func() Data { return new(MessageBounced) },
	TypeMessageComplaint: func() Data { return new(MessageComplaint) },

	TypeFolderCreated:  func() Data { return new(FolderCreated) },
	TypeFolderRenamed:  func() Data { return new(FolderRenamed) },
	TypeFolderDeleted:  func() Data { return new(FolderDeleted) },
	TypeFolderReset:    func() Data { return new(FolderReset) },
	TypeFolderOverflow: func() Data { return new(FolderOverflow) },

	TypeAccountCreated:       func() Data { return new(AccountCreated) },
	TypeAccountConnected:     func() Data { return new(AccountConnected) },
	TypeAccountDegraded:      func() Data { return new(AccountDegraded) },
	TypeAccountAuthRequired:  func() Data { return new(AccountAuthRequired) },
	TypeAccountUpdated:       func() Data { return new(AccountUpdated) },
	TypeAccountPaused:        func() Data { return new(AccountPaused) },
	TypeAccountResumed:       func() Data { return new(AccountResumed) },
	TypeAccountDeleted:       func() Data { return new(AccountDeleted) },
	TypeAccountSyncStarted:   func() Data { return new(AccountSyncStarted) },
	TypeAccountSyncCompleted: func() Data { return new(AccountSyncCompleted) },
	TypeAccountOwnerChanged:  func() Data { return new(AccountOwnerChanged) },
	TypeAccountGap:           func() Data { return new(AccountGap) },

	TypeSubmissionQueued:    func() Data { return new(SubmissionQueued) },
	TypeSubmissionSent:      func() Data { return new(SubmissionSent) },
	TypeSubmissionDeferred:  func() Data { return new(SubmissionDeferred) },
	TypeSubmissionFailed:    func() Data { return new(SubmissionFailed) },
	TypeSubmissionUncertain: func() Data { return new(SubmissionUncertain) },
	TypeSubmissionCanceled:  func() Data { return new(SubmissionCanceled) },
	TypeWebhookDisabled:     func() Data { return new(WebhookDisabled) },
	TypeWebhookTest:         func() Data { return new(WebhookTest) },
}
