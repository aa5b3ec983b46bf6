package webhook

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/postern-mail/postern/internal/event"
)

// Why a payload has no body; part of the API.
const (
	bodyGone        = "MESSAGE_GONE"
	bodyUnavailable = "MAILBOX_UNAVAILABLE"
)

// thinFields are the members of an event's data that are names and nothing that
// somebody wrote.
var thinFields = []string{
	"account", "message", "folder", "previousMessage", "previousFolder", "emailId", "thread", "origin", "submission", "draft",
	"webhook", "reason", "uidValidity", "previousUidValidity",
}

// cloudEvent is an event's outer form with its data untouched. The order of the
// fields is that of the log.
type cloudEvent struct {
	SpecVersion     json.RawMessage `json:"specversion"`
	ID              json.RawMessage `json:"id"`
	Source          json.RawMessage `json:"source"`
	Type            json.RawMessage `json:"type"`
	Subject         json.RawMessage `json:"subject,omitempty"`
	Time            json.RawMessage `json:"time"`
	Sequence        json.RawMessage `json:"sequence,omitempty"`
	DataContentType json.RawMessage `json:"datacontenttype"`
	Data            json.RawMessage `json:"data"`
}

// thin is an event with names only.
func thin(body []byte) ([]byte, error) {
	return withData(body, func(data map[string]json.RawMessage) error {
		kept := make(map[string]json.RawMessage)
		for _, field := range thinFields {
			if value, ok := data[field]; ok {
				kept[field] = value
			}
		}
		clear(data)
		for field, value := range kept {
			data[field] = value
		}
		return nil
	})
}

// withBody is an event with the body of its message, or with why there is none.
func withBody(body []byte, content *Body, why string) ([]byte, error) {
	return withData(body, func(data map[string]json.RawMessage) error {
		if content == nil {
			reason, err := plainJSON(why)
			data["bodyError"] = reason
			return err
		}
		text, err := plainJSON(content)
		data["body"] = text
		return err
	})
}

// withData is an event with its data changed.
func withData(body []byte, change func(map[string]json.RawMessage) error) ([]byte, error) {
	var e cloudEvent
	var data map[string]json.RawMessage
	if err := json.Unmarshal(body, &e); err != nil {
		return nil, fmt.Errorf("read an event: %w", err)
	}
	if err := json.Unmarshal(e.Data, &data); err != nil || data == nil {
		return nil, fmt.Errorf("read the data of an event: %w", &event.DecodeError{Reason: "its data is no object"})
	}
	if err := change(data); err != nil {
		return nil, err
	}
	var err error
	if e.Data, err = plainJSON(data); err != nil {
		return nil, err
	}
	return plainJSON(e)
}

// plainJSON is json.Marshal without the escapes for HTML.
func plainJSON(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// messageOf is the name of the message that an event announces, empty when it
// announces none.
func messageOf(typ event.Type, body []byte) string {
	if typ != event.TypeMessageCreated {
		return ""
	}
	var about struct {
		Data struct {
			Message string `json:"message"`
		} `json:"data"`
	}
	if json.Unmarshal(body, &about) != nil {
		return ""
	}
	return about.Data.Message
}
