package webhook

import (
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/eventlog"
)

// job is an event on its way to a webhook.
type job struct {
	webhook string
	id      string // of the event
	typ     event.Type
	account string
	stored  time.Time // when the log took the event
	body    []byte    // the event's own bytes
	// attempts is how often it was tried already, parks how often it was parked.
	attempts, parks int
	// hastened says that the present attempt comes before its time, because the
	// endpoint answers again: when it fails, that does not count.
	hastened bool
}

func newJob(webhook string, e *eventlog.Entry) job {
	return job{webhook: webhook, id: e.ID, typ: e.Type, account: e.Account, stored: e.Stored, body: e.Body}
}

// Headers of a job in the retry stream and of a dead letter.
const (
	headerEvent    = "Postern-Event"
	headerType     = "Postern-Type"
	headerAccount  = "Postern-Account"
	headerStored   = "Postern-Stored"
	headerAttempts = "Postern-Attempts"
	headerParks    = "Postern-Parks"
	headerHastened = "Postern-Hastened"
)

func (j job) header() nats.Header {
	h := nats.Header{
		headerEvent:    {j.id},
		headerType:     {string(j.typ)},
		headerAccount:  {j.account},
		headerStored:   {formatTime(j.stored)},
		headerAttempts: {strconv.Itoa(j.attempts)},
		headerParks:    {strconv.Itoa(j.parks)},
	}
	if j.hastened {
		h.Set(headerHastened, "1")
	}
	return h
}

func parseJob(webhook string, h nats.Header, body []byte) (job, error) {
	j := job{
		webhook: webhook, id: h.Get(headerEvent), typ: event.Type(h.Get(headerType)), account: h.Get(headerAccount),
		body: body, hastened: h.Get(headerHastened) != "",
	}
	attempts, err := strconv.Atoi(h.Get(headerAttempts))
	parks, errParks := strconv.Atoi(h.Get(headerParks))
	if err != nil || errParks != nil || attempts < 0 || parks < 0 || !event.ValidToken(j.id) {
		return job{}, fmt.Errorf("a parked event of webhook %s cannot be read", webhook)
	}
	j.attempts, j.parks, j.stored = attempts, parks, parseTime(h.Get(headerStored))
	return j, nil
}
