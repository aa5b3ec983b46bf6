package event_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/folder"
)

var (
	inbox  = folder.Key{1, 2, 3, 4, 5}
	sent   = folder.Key{9, 8, 7, 6, 5}
	placed = folder.MessageID{Folder: inbox, UIDValidity: 1700000000, UID: 42}
	other  = folder.MessageID{Folder: sent, UIDValidity: 7, UID: 1}
	found  = time.Date(2026, 11, 23, 10, 20, 30, 456_789_000, time.FixedZone("", 3600))
)

func created() *event.MessageCreated {
	date := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	return &event.MessageCreated{
		MessageRef: event.MessageAt("ann", placed, "M123", ""),
		Origin:     event.OriginNew,
		Flags:      []string{`\Seen`, "$Forwarded"},
		Size:       2048,
		Envelope: &event.Envelope{
			From:      &event.Address{Name: "Bob <& Co>", Address: "bob@example.com"},
			To:        []event.Address{{Address: "ann@example.com"}},
			Subject:   "Grüße",
			Date:      &date,
			MessageID: "<1@example.com>",
		},
		Snippet: "Hello",
	}
}

func updated(modSeq uint64) *event.MessageUpdated {
	return &event.MessageUpdated{
		MessageRef: event.MessageAt("ann", placed, "", ""),
		Flags:      event.Flags{After: []string{`\Seen`}, Added: []string{`\Seen`}},
		ModSeq:     modSeq,
	}
}

func submission(number uint64) event.Submission {
	return event.Submission{
		Submission: event.SubmissionName("ann", "s1"), State: "DEFERRED", MessageID: "1@example.org", Attempt: 1, Detail: "d", Number: number,
		Recipients: []event.SubmissionRecipient{{Address: "bob@example.com", State: "DEFERRED", SMTPCode: 450, EnhancedCode: "4.2.1", Text: "later"}},
	}
}

// TestIDs pins ids: they are stored, sent to webhooks and compared by
// consumers, so a changed value here is a broken promise.
func TestIDs(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		after uint64
		data  event.Data
		want  string
	}{
		{"created", 0, created(), "leeep3rrc4gse6beq1mshvonno"},
		{"created, later", 9, created(), "leeep3rrc4gse6beq1mshvonno"},
		{"deleted", 0, &event.MessageDeleted{MessageRef: event.MessageAt("ann", placed, "", "")}, "s05lhonkf34hdv2rtp9ann53i4"},
		{"moved", 0, &event.MessageMoved{MessageRef: event.MessageAt("ann", other, "", ""), PreviousMessage: event.MessageName("ann", placed)}, "0anora0c7attsu3aijcvla9ebc"},
		{"updated by modseq", 0, updated(77), "rcsf57o80i8evhess1p030hb34"},
		{"updated by modseq, later", 9, updated(77), "rcsf57o80i8evhess1p030hb34"},
		{"updated without modseq", 0, updated(0), "r71a07092oadjn2lkv2o0njda8"},
		{"updated without modseq, later", 9, updated(0), "231lvgtshtlgql7a9u5am3sgb8"},
		{"folder created", 3, &event.FolderCreated{FolderRef: event.FolderAt("ann", inbox, []string{"INBOX"})}, "g1mdk3r3ka2t49g4b07h488mfk"},
		{"folder reset", 3, &event.FolderReset{FolderRef: event.FolderAt("ann", inbox, nil), PreviousUIDValidity: 1, UIDValidity: 2}, "muk1qke6fc3nthabcslo0k9aus"},
		{"folder reset back", 3, &event.FolderReset{FolderRef: event.FolderAt("ann", inbox, nil), PreviousUIDValidity: 2, UIDValidity: 1}, "3954nkn9shc14l9cdvb95v2nqk"},
		{"connected", 3, &event.AccountConnected{AccountRef: event.AccountAt("ann")}, "sm0tb016crou8875a4dnas4pjs"},
		{"connected again", 5, &event.AccountConnected{AccountRef: event.AccountAt("ann")}, "6ebf9l224ob54d8mvepv9h364k"},
		{"owner changed", 3, &event.AccountOwnerChanged{AccountRef: event.AccountAt("ann"), Node: "n1"}, "9k8vkbkptlfj8berlq03d8v39o"},
		{"submission sent", 3, &event.SubmissionSent{Submission: submission(2)}, "rvdsf7bvkndg3g2ldfmjadpf20"},
		{"submission sent, later", 9, &event.SubmissionSent{Submission: submission(2)}, "rvdsf7bvkndg3g2ldfmjadpf20"},
		{"submission sent again", 3, &event.SubmissionSent{Submission: submission(4)}, "l56hqc1qlp6f6v9bcidmkftae0"},
		{"gap", 3, &event.AccountGap{AccountRef: event.AccountAt("ann"), Folder: event.FolderName("ann", inbox)}, "o741mriiuqcjeicpndmlmp4r98"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := event.New("ann", tt.after, found, tt.data)
			if e.ID != tt.want {
				t.Errorf("id = %s, want %s", e.ID, tt.want)
			}
			if later := event.New("ann", tt.after, found.Add(time.Hour), tt.data); later.ID != e.ID {
				t.Error("the id depends on when the fact was found")
			}
			if elsewhere := event.New("bob", tt.after, found, tt.data); elsewhere.ID == e.ID {
				t.Error("two accounts share the id")
			}
		})
	}
}

func TestEncode(t *testing.T) {
	t.Parallel()
	e := event.New("ann", 0, found, created())
	e.Number = 7
	body, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	want := `{"specversion":"1.0","id":"` + e.ID + `","source":"/v1/accounts/ann","type":"message.created",` +
		`"subject":"accounts/ann/messages/` + placed.String() + `","time":"2026-11-23T09:20:30.456Z","sequence":"00000000000000000007","datacontenttype":"application/json","data":{` +
		`"message":"accounts/ann/messages/` + placed.String() + `","folder":"accounts/ann/folders/` + inbox.String() + `","emailId":"M123",` +
		`"origin":"NEW","flags":["\\Seen","$Forwarded"],"size":"2048","envelope":{` +
		`"from":{"name":"Bob <& Co>","address":"bob@example.com"},"to":[{"address":"ann@example.com"}],"cc":[],` +
		`"subject":"Grüße","date":"2026-11-23T09:00:00Z","messageId":"<1@example.com>"},"snippet":"Hello"}}`
	if diff := cmp.Diff(want, string(body)); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
}

func TestDecodeGivesBackWhatWasEncoded(t *testing.T) {
	t.Parallel()
	ref, fold, acc := event.MessageAt("ann", placed, "M1", "T1"), event.FolderAt("ann", inbox, []string{"A", "B"}), event.AccountAt("ann")
	all := []event.Data{
		created(), updated(5),
		&event.MessageMoved{MessageRef: ref, PreviousMessage: event.MessageName("ann", other), PreviousFolder: event.FolderName("ann", sent)},
		&event.MessageDeleted{MessageRef: ref}, &event.MessageMissing{MessageRef: ref, Detail: "x"},
		&event.FolderCreated{FolderRef: fold}, &event.FolderRenamed{FolderRef: fold, PreviousPath: []string{"C"}},
		&event.FolderDeleted{FolderRef: fold}, &event.FolderReset{FolderRef: fold, PreviousUIDValidity: 1, UIDValidity: 2},
		&event.FolderOverflow{FolderRef: fold, Reason: "r"},
		&event.AccountCreated{AccountRef: acc, Email: "ann@example.com"}, &event.AccountConnected{AccountRef: acc},
		&event.AccountDegraded{AccountRef: acc, Reason: "R", Detail: "d"}, &event.AccountAuthRequired{AccountRef: acc, Reason: "R"},
		&event.AccountUpdated{AccountRef: acc, Fields: []string{"imap.host"}}, &event.AccountPaused{AccountRef: acc},
		&event.AccountResumed{AccountRef: acc}, &event.AccountDeleted{AccountRef: acc},
		&event.AccountSyncStarted{AccountRef: acc, Folders: 3}, &event.AccountSyncCompleted{AccountRef: acc, Folders: 3, Messages: 1 << 40},
		&event.AccountOwnerChanged{AccountRef: acc, Node: "n1"}, &event.AccountGap{AccountRef: acc, Reason: "r"},
		&event.SubmissionQueued{Submission: submission(1)}, &event.SubmissionSent{Submission: submission(2)},
		&event.SubmissionDeferred{Submission: submission(2)}, &event.SubmissionFailed{Submission: submission(3)},
		&event.SubmissionUncertain{Submission: submission(2)}, &event.SubmissionCanceled{Submission: submission(2)},
		&event.MessageBounced{MessageRef: ref, Submission: submission(1).Submission, OriginalMessageID: "1@example.org",
			Recipients: []event.BounceRecipient{{Address: "bob@example.com", Action: "failed", Status: "5.1.1", Diagnostic: "550 no"}}},
		&event.MessageComplaint{MessageRef: ref, Submission: submission(1).Submission, OriginalMessageID: "1@example.org",
			FeedbackType: "abuse", Recipients: []string{"bob@example.com"}},
	}
	for _, data := range all {
		t.Run(string(data.EventType()), func(t *testing.T) {
			t.Parallel()
			e := event.New("ann", 3, found, data)
			e.Number = 4
			body, err := e.Encode()
			if err != nil {
				t.Fatal(err)
			}
			got, err := event.Decode(body)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(e, got); diff != "" {
				t.Errorf("(-encoded +decoded):\n%s", diff)
			}
			if !e.Type.Known() {
				t.Errorf("%s is not among the types", e.Type)
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"no JSON":          `{`,
		"another version":  `{"specversion":"0.3","source":"/v1/accounts/ann","time":"2026-01-01T00:00:00Z"}`,
		"no account":       `{"specversion":"1.0","source":"/v1/accounts/","time":"2026-01-01T00:00:00Z"}`,
		"another source":   `{"specversion":"1.0","source":"/v2/x","time":"2026-01-01T00:00:00Z"}`,
		"no time":          `{"specversion":"1.0","source":"/v1/accounts/ann"}`,
		"sequence no text": `{"specversion":"1.0","source":"/v1/accounts/ann","time":"2026-01-01T00:00:00Z","sequence":"x"}`,
		"data of another shape": `{"specversion":"1.0","source":"/v1/accounts/ann","time":"2026-01-01T00:00:00Z",` +
			`"type":"message.created","data":[]}`,
	}
	for name, body := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := event.Decode([]byte(body))
			if decodeErr := (*event.DecodeError)(nil); !errors.As(err, &decodeErr) {
				t.Errorf("err = %v, want *DecodeError", err)
			}
		})
	}
}

func TestDecodeKeepsUnknownTypes(t *testing.T) {
	t.Parallel()
	e, err := event.Decode([]byte(`{"specversion":"1.0","id":"x","source":"/v1/accounts/ann","type":"message.read",` +
		`"time":"2026-01-01T00:00:00Z","data":{"a":1}}`))
	if err != nil {
		t.Fatal(err)
	}
	if raw, ok := e.Data.(json.RawMessage); !ok || string(raw) != `{"a":1}` {
		t.Errorf("data = %#v, want the JSON as it stands", e.Data)
	}
}

// TestHostileMailFits: whatever a sender writes, the event stays storable.
func TestHostileMailFits(t *testing.T) {
	t.Parallel()
	long := strings.Repeat(`"`, 1<<20) // two bytes each in JSON
	many := make([]event.Address, 10_000)
	flags := make([]string, 10_000)
	for i := range many {
		many[i] = event.Address{Name: long, Address: long}
		flags[i] = long
	}
	data := &event.MessageCreated{
		MessageRef: event.MessageAt("ann", placed, long, long), Flags: flags, Snippet: long,
		Envelope: &event.Envelope{From: &many[0], To: many, Cc: many, Subject: long, MessageID: long},
	}
	sent := &event.SubmissionSent{Submission: event.Submission{Detail: long, MessageID: long}}
	bounced := &event.MessageBounced{MessageRef: event.MessageAt("ann", placed, long, long), OriginalMessageID: long}
	for range 10_000 {
		sent.Recipients = append(sent.Recipients, event.SubmissionRecipient{Address: long, Text: long})
		bounced.Recipients = append(bounced.Recipients, event.BounceRecipient{Address: long, Action: long, Status: long, Diagnostic: long})
	}
	for _, data := range []event.Data{data, sent, bounced} {
		body, err := event.New("ann", 0, found, data).Encode()
		if err != nil {
			t.Fatal(err)
		}
		if len(body) > 256<<10 {
			t.Errorf("%s has %d bytes, want at most 256 KiB", data.EventType(), len(body))
		}
	}
	if !data.Envelope.Truncated {
		t.Error("the envelope was cut and does not say so")
	}
}

func TestBrokenTextBecomesUTF8(t *testing.T) {
	t.Parallel()
	data := &event.MessageCreated{MessageRef: event.MessageAt("ann", placed, "", ""), Snippet: "a\xff\x00b" + strings.Repeat("é", 1500)}
	event.New("ann", 0, found, data)
	if !strings.HasPrefix(data.Snippet, "a\uFFFD bé") || !strings.HasSuffix(data.Snippet, "é") {
		t.Errorf("snippet = %q…", data.Snippet[:20])
	}
	if data.Flags == nil {
		t.Error("no flags are null in JSON, want an empty list")
	}
}

func TestSubjects(t *testing.T) {
	t.Parallel()
	for _, typ := range event.Types() {
		account, got, err := event.ParseSubject(event.Subject("ann-1", typ))
		if err != nil || account != "ann-1" || got != typ {
			t.Errorf("%s: ParseSubject = %q, %q, %v", typ, account, got, err)
		}
	}
	for _, bad := range []string{
		"", "postern.events.", "postern.events.ann", "postern.events.ann.message", "postern.events.ann.message.created.x",
		"postern.events..message.created", "postern.events.*.message.created", "postern.events.ann.message.>", "other.events.ann.message.created",
	} {
		_, _, err := event.ParseSubject(bad)
		if subjectErr := (*event.SubjectError)(nil); !errors.As(err, &subjectErr) {
			t.Errorf("ParseSubject(%q) = %v, want *SubjectError", bad, err)
		}
	}
}

// A consumer of one account's subjects gets its events of every type, and none
// of an account whose name begins alike.
func TestSubjectOfAccount(t *testing.T) {
	t.Parallel()
	prefix, ok := strings.CutSuffix(event.SubjectOfAccount("ann"), ">")
	if !ok {
		t.Fatalf("%s takes no more tokens", event.SubjectOfAccount("ann"))
	}
	for _, typ := range event.Types() {
		if subject := event.Subject("ann", typ); !strings.HasPrefix(subject, prefix) {
			t.Errorf("%s is not within %s", subject, prefix)
		}
		if subject := event.Subject("ann-1", typ); strings.HasPrefix(subject, prefix) {
			t.Errorf("%s is within %s", subject, prefix)
		}
		if entity := typ.Entity(); !strings.HasPrefix(string(typ), entity+".") {
			t.Errorf("the entity of %s is %q", typ, entity)
		}
	}
}

func TestMessageNamesItsPlacement(t *testing.T) {
	t.Parallel()
	if id, err := event.MessageAt("ann", placed, "", "").ID(); err != nil || id != placed {
		t.Errorf("got %v, %v", id, err)
	}
	if _, err := (event.MessageRef{Message: "accounts/ann/messages/what"}).ID(); err == nil {
		t.Error("a name that spells no placement was read")
	}
}
