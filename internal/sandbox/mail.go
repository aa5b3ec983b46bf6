package sandbox

import (
	"bytes"
	"context"
	"embed"
	"encoding/base64"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"text/template"
	"time"

	"github.com/emersion/go-imap/v2"
	"golang.org/x/text/encoding/ianaindex"
)

//go:embed mail
var mailFiles embed.FS

// samples are the messages of the demo's mailbox, oldest first in each folder,
// as they would have arrived.
var samples = []struct {
	file   string
	folder string
	flags  []imap.Flag
}{
	{"welcome.eml", inbox, []imap.Flag{imap.FlagSeen}},
	{"newsletter.eml", inbox, nil},
	{"rechnung.eml", inbox, []imap.Flag{imap.FlagSeen, imap.FlagFlagged}},
	{"japanese.eml", inbox, nil},
	{"thread-1.eml", inbox, []imap.Flag{imap.FlagSeen, imap.FlagAnswered}},
	{"thread-3.eml", inbox, []imap.Flag{imap.FlagSeen}},
	{"russian.eml", inbox, []imap.Flag{imap.FlagSeen, imap.FlagForwarded}},
	{"spanish.eml", inbox, nil},
	{"chinese.eml", inbox, nil},
	{"arabic.eml", inbox, nil},
	{"invitation.eml", inbox, []imap.Flag{imap.FlagFlagged}},
	{"bounce.eml", inbox, nil},
	{"flowed.eml", inbox, nil},
	{"photos.eml", inbox, nil},
	{"thread-2.eml", "Sent", []imap.Flag{imap.FlagSeen}},
	{"draft.eml", "Drafts", []imap.Flag{imap.FlagSeen, imap.FlagDraft}},
	{"junk.eml", "Junk", nil},
	{"receipt.eml", "Archive", []imap.Flag{imap.FlagSeen}},
	{"parcel.eml", "Trash", []imap.Flag{imap.FlagSeen}},
	{"minutes.eml", projectFolder, []imap.Flag{imap.FlagSeen}},
	{"forwarded.eml", projectFolder, nil},
}

const projectFolder = "Projects/Lighthouse"

// dateLayout is how mail writes dates (RFC 5322 section 3.3).
const dateLayout = "Mon, 02 Jan 2006 15:04:05 -0700"

// addSamples fills the demo's mailbox.
func (s *Server) addSamples(ctx context.Context) error {
	a := s.account(Username)
	if err := a.create(projectFolder, &imap.CreateOptions{}); err != nil {
		return err
	}
	if err := a.subscribe(projectFolder, true); err != nil {
		return err
	}
	now := s.now()
	for _, sample := range samples {
		raw, err := render(sample.file, now, 0)
		if err != nil {
			return err
		}
		arrived, err := sentAt(raw)
		if err != nil {
			return fmt.Errorf("read the date of %s: %w", sample.file, err)
		}
		options := &imap.AppendOptions{Flags: sample.flags, Time: arrived}
		if _, err := s.append(ctx, Username, sample.folder, raw, options); err != nil {
			return err
		}
	}
	return nil
}

// NewMail makes a message that looks as if it had just come, with a Message-ID
// of its own at each call. It is to be delivered with Deliver.
func (s *Server) NewMail() ([]byte, error) {
	s.mu.Lock()
	s.newMail++
	serial := s.newMail
	s.mu.Unlock()
	return render("new.eml", s.now(), serial)
}

func sentAt(raw []byte) (time.Time, error) {
	message, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return time.Time{}, err
	}
	return message.Header.Date()
}

// render makes a message of a template in the folder mail. The templates are in
// UTF-8 with bare line feeds, so that people can read them; the message has the
// charsets and encodings that the template asks for, and lines as the Internet
// has them.
func render(file string, now time.Time, serial int) ([]byte, error) {
	source, err := mailFiles.ReadFile("mail/" + file)
	if err != nil {
		return nil, err
	}
	t, err := template.New(file).Funcs(template.FuncMap{
		"date":   func(offset string, zone ...string) (string, error) { return formatDate(now, offset, zone) },
		"ics":    func(offset string) (string, error) { return formatICS(now, offset) },
		"serial": func() string { return fmt.Sprintf("%d.%d", now.Unix(), serial) },
		"word":   encodeWord,
		"text":   encodeText,
		"qp":     encodeQuotedPrintable,
		"base64": encodeBase64,
		"file":   encodeFile,
	}).Parse(string(source))
	if err != nil {
		return nil, err
	}
	var raw bytes.Buffer
	if err := t.Execute(&raw, nil); err != nil {
		return nil, err
	}
	return withCRLF(raw.Bytes()), nil
}

func withCRLF(b []byte) []byte {
	b = bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n"))
	return bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n"))
}

// formatDate writes the moment that lies an offset such as "-26h30m" from now,
// in a zone such as "+0900" or else in UTC.
func formatDate(now time.Time, offset string, zone []string) (string, error) {
	at, err := shift(now, offset)
	if err != nil {
		return "", err
	}
	location := time.UTC
	if len(zone) > 0 {
		t, err := time.Parse("-0700", zone[0])
		if err != nil {
			return "", err
		}
		location = t.Location()
	}
	return at.In(location).Format(dateLayout), nil
}

// formatICS writes a moment as a calendar does (RFC 5545 section 3.3.5), on the
// hour when it is still to come.
func formatICS(now time.Time, offset string) (string, error) {
	at, err := shift(now, offset)
	if err != nil {
		return "", err
	}
	if at.After(now) {
		at = at.Truncate(time.Hour)
	}
	return at.UTC().Format("20060102T150405Z"), nil
}

func shift(now time.Time, offset string) (time.Time, error) {
	d, err := time.ParseDuration(offset)
	return now.Add(d), err
}

// encodeWord writes a text for a header field as one encoded word (RFC 2047).
func encodeWord(charset, s string) (string, error) {
	b, err := encodeText(charset, s)
	if err != nil {
		return "", err
	}
	word := fmt.Sprintf("=?%s?B?%s?=", charset, base64.StdEncoding.EncodeToString([]byte(b)))
	if len(word) > 75 && !strings.EqualFold(charset, "utf-8") {
		return "", fmt.Errorf("%q is too long for one encoded word", s)
	}
	if len(word) > 75 {
		return strings.ReplaceAll(mime.BEncoding.Encode(charset, s), "?= =?", "?=\n =?"), nil
	}
	return word, nil
}

// encodeText writes a text in a charset.
func encodeText(charset, s string) (string, error) {
	encoding, err := ianaindex.MIME.Encoding(charset)
	if err != nil {
		return "", fmt.Errorf("charset %s: %w", charset, err)
	}
	return encoding.NewEncoder().String(s)
}

func encodeQuotedPrintable(charset, s string) (string, error) {
	s, err := encodeText(charset, s)
	if err != nil {
		return "", err
	}
	var encoded strings.Builder
	w := quotedprintable.NewWriter(&encoded)
	if _, err := w.Write([]byte(s)); err != nil {
		return "", err
	}
	if err := w.Close(); err != nil {
		return "", err
	}
	return encoded.String(), nil
}

func encodeBase64(charset, s string) (string, error) {
	s, err := encodeText(charset, s)
	if err != nil {
		return "", err
	}
	return wrapBase64(withCRLF([]byte(s))), nil
}

// encodeFile writes a file of the folder mail/files as base64.
func encodeFile(name string) (string, error) {
	content, err := mailFiles.ReadFile("mail/files/" + name)
	if err != nil {
		return "", err
	}
	return wrapBase64(content), nil
}

// wrapBase64 breaks the lines as RFC 2045 section 6.8 asks.
func wrapBase64(b []byte) string {
	const lineLength = 76
	var wrapped strings.Builder
	encoded := base64.StdEncoding.EncodeToString(b)
	for len(encoded) > lineLength {
		wrapped.WriteString(encoded[:lineLength])
		wrapped.WriteByte('\n')
		encoded = encoded[lineLength:]
	}
	wrapped.WriteString(encoded)
	return wrapped.String()
}
