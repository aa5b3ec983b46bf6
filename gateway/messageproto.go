package gateway

import (
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"google.golang.org/protobuf/types/known/timestamppb"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/message"
)

// minimalMessage is the view MINIMAL of what the server told.
func minimalMessage(account string, id folder.MessageID, m *imapconn.FetchMessage) *posternv1.Message {
	out := &posternv1.Message{
		Name:         event.MessageName(account, id),
		Folder:       event.FolderName(account, id.Folder),
		Flags:        visibleFlags(m.Flags),
		Labels:       m.GmailLabels,
		InternalDate: timeProto(m.InternalDate),
		Size:         m.Size,
		Etag:         flagsEtag(m.Flags, m.ModSeq),
		Thread:       threadName(account, m),
	}
	if m.Unreadable {
		out.Defects = []string{string(message.DefectUnreadable)}
	}
	return out
}

// describe adds what the view METADATA has more.
func describe(out *posternv1.Message, s *message.Summary) {
	out.Date = timeProto(s.Date)
	out.From = firstAddress(s.From)
	if sender := firstAddress(s.Sender); sender != nil && sender.GetAddress() != out.From.GetAddress() {
		out.Sender = sender
	}
	out.To, out.Cc, out.Bcc = addresses(s.To), addresses(s.Cc), addresses(s.Bcc)
	// RFC 9051 section 7.5.2: the server fills an absent Reply-To with From.
	if !slices.Equal(s.ReplyTo, s.From) {
		out.ReplyTo = addresses(s.ReplyTo)
	}
	out.Subject = s.Subject
	out.MessageId = s.MessageID
	out.InReplyTo = s.InReplyTo
	out.References = s.References
	if len(s.From) > 1 {
		out.Authors = addresses(s.From)
	}
	out.Security = securityProto(s.Structure.Security())
}

func securityProto(s message.Security) *posternv1.Security {
	if !s.Signed && !s.Encrypted {
		return nil
	}
	out := &posternv1.Security{Signed: s.Signed, Encrypted: s.Encrypted}
	switch s.Scheme {
	case message.SchemeOpenPGP:
		out.Scheme = posternv1.Security_OPENPGP
	case message.SchemeSMIME:
		out.Scheme = posternv1.Security_SMIME
	}
	return out
}

// firstAddress is the first that can be written to, or else the first.
func firstAddress(list []message.Address) *posternv1.Address {
	if len(list) == 0 {
		return nil
	}
	i := max(0, slices.IndexFunc(list, func(a message.Address) bool { return a.Address != "" }))
	return addressProto(list[i])
}

func addressProto(a message.Address) *posternv1.Address {
	return &posternv1.Address{Name: a.Name, Address: a.Address, Group: a.Group}
}

func addresses(list []message.Address) []*posternv1.Address {
	out := make([]*posternv1.Address, len(list))
	for i, a := range list {
		out[i] = addressProto(a)
	}
	return out
}

func headersProto(h message.Header) []*posternv1.Header {
	out := make([]*posternv1.Header, len(h.Fields))
	for i, f := range h.Fields {
		out[i] = &posternv1.Header{Name: f.Name, Value: f.Value}
	}
	return out
}

func defectsProto(lists ...[]message.Defect) []string {
	var all []string
	for _, list := range lists {
		for _, d := range list {
			if !slices.Contains(all, string(d)) {
				all = append(all, string(d))
			}
		}
	}
	return all
}

func timeProto(t time.Time) *timestamppb.Timestamp {
	// What RFC 3339 cannot write is as if it were not there.
	if t.IsZero() || t.Year() < 1 || t.Year() > 9999 {
		return nil
	}
	return timestamppb.New(t)
}

// flagsEtag stands for the flags of a message: its mod-sequence where there is
// one (RFC 7162 section 3.1), or else a hash of the flags.
func flagsEtag(flags []imap.Flag, modSeq uint64) string {
	if modSeq > 0 {
		return "m" + strconv.FormatUint(modSeq, 36)
	}
	set := make([]string, 0, len(flags))
	for _, f := range flags {
		// \Recent is the session's, not the message's.
		if !sameFlag(f, `\Recent`) {
			// RFC 9051 section 2.3.2: flags are case-insensitive.
			set = append(set, strings.ToLower(string(f)))
		}
	}
	slices.Sort(set)
	sum := sha256.Sum256([]byte(strings.Join(slices.Compact(set), " ")))
	return "f" + base64.RawURLEncoding.EncodeToString(sum[:9])
}

// visibleFlags are the flags of a message as the API shows them. \Recent is
// the session's, not the message's, and IMAP4rev2 has dropped it (RFC 9051
// appendix E).
func visibleFlags(flags []imap.Flag) []string {
	visible := make([]string, 0, len(flags))
	for _, f := range flags {
		if !sameFlag(f, `\Recent`) {
			visible = append(visible, string(f))
		}
	}
	return visible
}
