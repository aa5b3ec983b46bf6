package sandbox

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"image/png"
	"io"
	"io/fs"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/text/encoding/ianaindex"
)

var testNow = time.Date(2026, time.March, 4, 9, 30, 0, 0, time.UTC)

// TestMessages reads each template's message with the standard library, which
// forgives little, and looks for what the message is there to show.
func TestMessages(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]struct {
		subject string
		parts   string // content types of the leaves
		text    string // somewhere in a leaf, decoded
	}{
		"welcome.eml":    {"Welcome to your sandbox", "text/plain text/html", "memory of <b>one process</b>"},
		"newsletter.eml": {"Maps that lied — and what sailors made of them", "text/plain text/html", "€40 a sheet"},
		"rechnung.eml":   {"Ihre Rechnung über 238,80 €", "text/plain application/pdf", "für die zwölf Seekarten"},
		"japanese.eml":   {"灯台見学の日程について", "text/plain", "日時：第二土曜日　午前十時"},
		"thread-1.eml":   {"Lantern room: who has the key?", "text/plain", "electrician comes on Thursday"},
		"thread-2.eml":   {"Re: Lantern room: who has the key?", "text/plain", "on the left hook"},
		"thread-3.eml":   {"Re: Lantern room: who has the key?", "text/plain", "in my coat"},
		"russian.eml":    {"Отчёт о состоянии маяка", "text/plain", "Линза очищена"},
		"spanish.eml":    {"¿Qué te parece el nuevo logotipo?", "text/html image/png", `src="cid:faro.logo@faro.example"`},
		"chinese.eml":    {"关于航标灯的报价", "text/plain", "每盏人民币三千二百元"},
		"arabic.eml":     {"صور المنارة القديمة", "text/plain", "في أرشيف المدينة"},
		"invitation.eml": {"Invitation: Electrician in the lantern room", "text/plain text/calendar application/ics", "DTSTART:20260306T070000Z\r\n"},
		"bounce.eml":     {"Undelivered Mail Returned to Sender", "text/plain message/delivery-status message/rfc822", "Status: 5.1.1\r\n"},
		"flowed.eml":     {"Party on the pier 🎉🌊", "text/plain", "on Saturday we drink \r\nto it"},
		"photos.eml":     {"Two pictures from the coast", "text/plain image/png image/png", "before the fog"},
		"minutes.eml":    {"Lighthouse: minutes of the first meeting", "text/plain", "painted before winter"},
		"forwarded.eml":  {"Fwd: Offer for the paint", "text/plain message/rfc822", "<b>signal red</b>"},
		"draft.eml":      {"Re: the lamps", "text/plain", "About the lamps:"},
		"junk.eml":       {"YOU HAVE WON!!! act now", "text/html", "CONGRATULATIONS"},
		"receipt.eml":    {"Your ticket to the island", "text/plain", "Platform B"},
		"parcel.eml":     {"Your parcel arrives today", "text/plain", "needs a signature"},
		"new.eml":        {"The lamp is lit 💡", "text/plain text/html", "from the harbour"},
	} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			raw, err := render(file, testNow, 1)
			if err != nil {
				t.Fatal(err)
			}
			checkLines(t, raw)
			message, err := mail.ReadMessage(bytes.NewReader(raw))
			if err != nil {
				t.Fatal(err)
			}
			checkHeader(t, message.Header, want.subject)
			leaves, err := readLeaves(message.Header.Get, message.Body)
			if err != nil {
				t.Fatal(err)
			}
			var types []string
			found := false
			for _, leaf := range leaves {
				types = append(types, leaf.mediaType)
				found = found || strings.Contains(leaf.content, want.text)
			}
			if got := strings.Join(types, " "); got != want.parts {
				t.Errorf("parts %s, want %s", got, want.parts)
			}
			if !found {
				t.Errorf("no part has %q: %q", want.text, leaves)
			}
		})
	}
}

// TestSamplesAreAllUsed catches a template that nobody sees.
func TestSamplesAreAllUsed(t *testing.T) {
	t.Parallel()
	used := map[string]bool{"new.eml": true} // by NewMail
	for _, sample := range samples {
		used[sample.file] = true
	}
	files, err := fs.Glob(mailFiles, "mail/*.eml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !used[path.Base(file)] {
			t.Errorf("%s is not among the samples", file)
		}
	}
	if len(files) != len(used) {
		t.Errorf("%d templates, %d used", len(files), len(used))
	}
}

// TestSamplesArriveInOrder keeps the order of UIDs that of the dates.
func TestSamplesArriveInOrder(t *testing.T) {
	t.Parallel()
	last := make(map[string]time.Time)
	for _, sample := range samples {
		raw, err := render(sample.file, testNow, 0)
		if err != nil {
			t.Fatal(err)
		}
		arrived, err := sentAt(raw)
		if err != nil {
			t.Fatal(err)
		}
		if !arrived.After(last[sample.folder]) || !arrived.Before(testNow) {
			t.Errorf("%s is of %s, after %s", sample.file, arrived, last[sample.folder])
		}
		last[sample.folder] = arrived
	}
}

func TestNewMailIsNewEachTime(t *testing.T) {
	t.Parallel()
	s, err := Start(context.Background(), Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var ids []string
	for range 3 {
		raw, err := s.NewMail()
		if err != nil {
			t.Fatal(err)
		}
		message, err := mail.ReadMessage(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, message.Header.Get("Message-ID"))
	}
	slices.Sort(ids)
	if len(slices.Compact(ids)) != 3 {
		t.Errorf("Message-IDs %v", ids)
	}
}

func TestImagesAreImages(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"coast.png", "lighthouse.png"} {
		f, err := mailFiles.Open("mail/files/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := png.Decode(f); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		f.Close()
	}
}

// checkLines holds a message to RFC 5322 section 2.1.1: CRLF, and no line above
// 998 bytes.
func checkLines(t *testing.T, raw []byte) {
	t.Helper()
	if !bytes.HasSuffix(raw, []byte("\r\n")) {
		t.Error("the last line has no end")
	}
	for line := range bytes.SplitSeq(raw, []byte("\r\n")) {
		if bytes.ContainsAny(line, "\r\n") || len(line) > 998 {
			t.Errorf("line %q", line)
		}
	}
}

func checkHeader(t *testing.T, header mail.Header, subject string) {
	t.Helper()
	words := &mime.WordDecoder{CharsetReader: decodeCharset}
	if got, err := words.DecodeHeader(header.Get("Subject")); err != nil || got != subject {
		t.Errorf("subject %q, %v; want %q", got, err, subject)
	}
	if _, err := header.Date(); err != nil {
		t.Errorf("date: %v", err)
	}
	from, err := (&mail.AddressParser{WordDecoder: words}).ParseList(header.Get("From"))
	// RFC 2606: nobody's domain.
	reserved := regexp.MustCompile(`[@.]example(\.com|\.net|\.org)?$`)
	if err != nil || len(from) != 1 || !reserved.MatchString(from[0].Address) {
		t.Errorf("from %v, %v", from, err)
	}
	if id := header.Get("Message-ID"); !strings.HasPrefix(id, "<") || !strings.HasSuffix(id, ">") || strings.Count(id, "@") != 1 {
		t.Errorf("message id %q", id)
	}
}

type leaf struct{ mediaType, content string }

// readLeaves reads an entity's parts that are not multiparts, decoded.
func readLeaves(header func(string) string, body io.Reader) ([]leaf, error) {
	mediaType, params, err := mime.ParseMediaType(header("Content-Type"))
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(mediaType, "multipart/") {
		content, err := decode(body, header("Content-Transfer-Encoding"), params["charset"])
		return []leaf{{mediaType, content}}, err
	}
	var leaves []leaf
	parts := multipart.NewReader(body, params["boundary"])
	for {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return leaves, nil
		}
		if err != nil {
			return nil, err
		}
		below, err := readLeaves(part.Header.Get, part)
		if err != nil {
			return nil, err
		}
		leaves = append(leaves, below...)
	}
}

func decode(body io.Reader, encoding, charset string) (string, error) {
	switch encoding {
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	case "", "7bit", "8bit":
	default:
		return "", fmt.Errorf("transfer encoding %q", encoding)
	}
	if charset != "" {
		var err error
		if body, err = decodeCharset(charset, body); err != nil {
			return "", err
		}
	}
	content, err := io.ReadAll(body)
	if charset != "" && strings.ContainsRune(string(content), '\uFFFD') {
		return "", fmt.Errorf("text that is not in %s: %q", charset, content)
	}
	return string(content), err
}

func decodeCharset(charset string, r io.Reader) (io.Reader, error) {
	encoding, err := ianaindex.MIME.Encoding(charset)
	if err != nil {
		return nil, err
	}
	if encoding == nil {
		return nil, fmt.Errorf("charset %q", charset)
	}
	return encoding.NewDecoder().Reader(r), nil
}
