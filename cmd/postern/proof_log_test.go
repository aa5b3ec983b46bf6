package main

import (
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// fact is an event as any NATS client reads it, by the documentation alone.
type fact struct {
	ID       string `json:"id"`
	Source   string `json:"source"`
	Type     string `json:"type"`
	Sequence string `json:"sequence"`
	Data     struct {
		Message             string          `json:"message"`
		PreviousMessage     string          `json:"previousMessage"`
		Folder              string          `json:"folder"`
		Path                []string        `json:"path"`
		Origin              string          `json:"origin"`
		Flags               json.RawMessage `json:"flags"`
		PreviousUIDValidity uint32          `json:"previousUidValidity"`
		UIDValidity         uint32          `json:"uidValidity"`
		Reason              string          `json:"reason"`
		Submission          string          `json:"submission"`
		Number              string          `json:"number"`
		Envelope            struct {
			Subject string `json:"subject"`
		} `json:"envelope"`
	} `json:"data"`

	// came is when it was read.
	came time.Time
}

func (f *fact) account() string { return f.Source[strings.LastIndexByte(f.Source, '/')+1:] }

// flags are the flags after the fact, and whether it tells them.
func (f *fact) flags() (string, bool) {
	var list []string
	if json.Unmarshal(f.Data.Flags, &list) == nil && list != nil {
		return flagText(list), true
	}
	var change struct{ After []string }
	if json.Unmarshal(f.Data.Flags, &change) == nil && change.After != nil {
		return flagText(change.After), true
	}
	return "", false
}

// flagText writes flags so that the same ones are the same text. \Recent is a
// session's, not the message's (RFC 3501 section 2.3.2).
func flagText(flags []string) string {
	kept := slices.DeleteFunc(slices.Clone(flags), func(flag string) bool { return flag == `\Recent` })
	slices.Sort(kept)
	return strings.Join(kept, " ")
}

// located takes a message's name apart: base32hex of the folder's key, UIDVALIDITY
// and UID.
func located(message string) (folder string, at placement, err error) {
	text := message[strings.LastIndexByte(message, '/')+1:]
	raw, err := base32.HexEncoding.WithPadding(base32.NoPadding).DecodeString(strings.ToUpper(text))
	if err != nil || len(raw) < 8 {
		return "", placement{}, fmt.Errorf("%q is not the name of a message", message)
	}
	numbers := raw[len(raw)-8:]
	return text[:8], placement{binary.BigEndian.Uint32(numbers), imap.UID(binary.BigEndian.Uint32(numbers[4:]))}, nil
}

// logReader follows the log from its beginning.
type logReader struct {
	conn *nats.Conn

	mu    sync.Mutex
	facts []*fact
	read  int // of them, by next
	err   error
}

// readLog connects to the log as it is reachable now.
func (p *proof) readLog() *logReader {
	p.t.Helper()
	conn, err := nats.Connect(p.natsURL(), nats.Timeout(patience))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		p.t.Fatal(err)
	}
	consumer, err := js.OrderedConsumer(p.t.Context(), "POSTERN_EVENTS", jetstream.OrderedConsumerConfig{})
	if err != nil {
		p.t.Fatal(err)
	}
	r := &logReader{conn: conn}
	if _, err := consumer.Consume(r.take); err != nil {
		p.t.Fatal(err)
	}
	return r
}

func (r *logReader) take(msg jetstream.Msg) {
	f := &fact{came: time.Now()}
	err := json.Unmarshal(msg.Data(), f)
	if id := msg.Headers().Get(jetstream.MsgIDHeader); err == nil && id != f.ID {
		err = fmt.Errorf("the header has the id %s, the event %s", id, f.ID)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.facts = append(r.facts, f)
	if err != nil && r.err == nil {
		r.err = fmt.Errorf("%s: %w", msg.Subject(), err)
	}
}

// next gives what has come since the last call.
func (r *logReader) next() ([]*fact, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fresh := r.facts[r.read:]
	r.read = len(r.facts)
	return fresh, r.err
}

// delays is how long after its delivery each message was announced.
func (r *logReader) delays(p *proof) []time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	var delays []time.Duration
	for _, f := range r.facts {
		if f.Type == "message.created" {
			delays = append(delays, f.came.Sub(p.mailbox(f.account()).deliveredAt(f.Data.Envelope.Subject)))
		}
	}
	return delays
}

// lateness is how long after its account's login each change was announced.
func (r *logReader) lateness(p *proof, logins map[string]time.Time) []time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	var late []time.Duration
	for _, f := range r.facts {
		entity, _, _ := strings.Cut(f.Type, ".")
		if entity != "message" && entity != "folder" {
			continue
		}
		if login := logins[p.mailbox(f.account()).user]; f.came.After(login) {
			late = append(late, f.came.Sub(login))
		}
	}
	return late
}
