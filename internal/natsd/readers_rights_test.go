package natsd_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/waittest"
)

// Whatever a reader tries, nothing of it gets through.
func TestReaderCannot(t *testing.T) {
	t.Parallel()
	r := startReadable(t)
	bucket, err := r.owner.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "accounts"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bucket.PutString(t.Context(), "ann", "sealed"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.owner.CreateConsumer(t.Context(), logName, jetstream.ConsumerConfig{Durable: "webhook-1"}); err != nil {
		t.Fatal(err)
	}
	r.publish(t, 1, 20)
	js := r.jetStream(t)
	if _, err := js.CreateConsumer(t.Context(), logName, jetstream.ConsumerConfig{Durable: "mine", AckPolicy: jetstream.AckExplicitPolicy}); err != nil {
		t.Fatal(err)
	}
	before := r.look(t)
	made, err := js.Stream(t.Context(), logName)
	if err != nil {
		t.Fatal(err)
	}

	cannotSend(t, r)
	cannotSubscribe(t, r)
	cannotPush(t, r)
	cannotDivert(t, r)
	if _, err := js.Consumer(t.Context(), logName, "webhook-1"); err == nil {
		t.Error("the consumer of a webhook is visible")
	}
	if err := js.DeleteConsumer(t.Context(), logName, "webhook-1"); err == nil {
		t.Error("the consumer of a webhook is deleted")
	}
	r.publish(t, 21, 21) // all that was sent before has been handled
	waittest.For(t, "the copy to go on", func() bool {
		stream, err := js.Stream(t.Context(), logName)
		return err == nil && stream.CachedInfo().State.LastSeq == 21
	})
	before = strings.ReplaceAll(before, "20 messages", "21 messages")
	if after := r.look(t); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	stream, err := js.Stream(t.Context(), logName)
	if err != nil {
		t.Fatal(err)
	}
	if info := stream.CachedInfo(); info.State.Msgs != 21 || info.Config.Mirror == nil || info.Config.MaxAge != time.Hour {
		t.Errorf("the copy is %+v", info)
	}
	// One that was deleted would have been made anew.
	if _, err := js.Consumer(t.Context(), logName, "mine"); err != nil || !stream.CachedInfo().Created.Equal(made.CachedInfo().Created) {
		t.Errorf("the copy is another one: %v", err)
	}
}

// look describes all that Postern's account holds.
func (r *readable) look(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for info := range r.owner.ListStreams(t.Context()).Info() {
		fmt.Fprintf(&all, "%s: %d messages, %v, %v\n", info.Config.Name, info.State.Msgs, info.Config.Subjects, info.Config.MaxAge)
		stream, err := r.owner.Stream(t.Context(), info.Config.Name)
		if err != nil {
			t.Fatal(err)
		}
		for name := range stream.ConsumerNames(t.Context()).Name() {
			fmt.Fprintf(&all, "  %s\n", name)
		}
	}
	return all.String()
}

// The subjects of what readers must not do.
var forbidden = []string{
	"log.a1", "$KV.accounts.ann", "$O.files.C.x",
	"$JS.API.STREAM.CREATE.OTHER", "$JS.API.STREAM.UPDATE.LOG", "$JS.API.STREAM.DELETE.LOG", "$JS.API.STREAM.PURGE.LOG",
	"$JS.API.STREAM.MSG.DELETE.LOG", "$JS.API.STREAM.SNAPSHOT.LOG", "$JS.API.STREAM.RESTORE.LOG",
	"$JS.API.STREAM.DELETE.KV_accounts", "$JS.API.STREAM.INFO.KV_accounts", "$JS.API.STREAM.MSG.GET.KV_accounts",
	"$JS.API.DIRECT.GET.KV_accounts", "$JS.API.DIRECT.GET.KV_accounts.$KV.accounts.ann",
	"$JS.API.CONSUMER.CREATE.KV_accounts", "$JS.API.CONSUMER.CREATE.KV_accounts.x", "$JS.API.CONSUMER.DURABLE.CREATE.KV_accounts.x",
	"$JS.API.ACCOUNT.PURGE.COPIER", "$JS.API.SERVER.REMOVE",
	"postern.log.CONSUMER.CREATE.LOG", "postern.feed.x", "postern.create.CONSUMER.CREATE.LOG", "$JS.FC.LOG.x.y",
	"$SYS.REQ.USER.INFO", "$SYS.REQ.SERVER.PING", "anything",
}

func cannotSend(t *testing.T, r *readable) {
	t.Helper()
	refused := make(chan error, 1)
	conn, err := nats.Connect(r.url, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, subject := range forbidden {
		if err := conn.PublishRequest(subject, conn.NewRespInbox(), []byte("{}")); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-refused:
			if !strings.Contains(strings.ToLower(err.Error()), "permissions violation for publish to \""+strings.ToLower(subject)) {
				t.Errorf("%s: %v", subject, err)
			}
		case <-time.After(30 * time.Second):
			t.Errorf("%s is not refused", subject)
		}
	}
}

func cannotSubscribe(t *testing.T, r *readable) {
	t.Helper()
	refused := make(chan error, 1)
	conn, err := nats.Connect(r.url, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, subject := range []string{">", "$KV.>", "log.>", "$JS.>", "postern.>", "$SYS.>", "_R_.>"} {
		if _, err := conn.SubscribeSync(subject); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-refused:
			if !strings.Contains(strings.ToLower(err.Error()), "permissions violation for subscription") {
				t.Errorf("%s: %v", subject, err)
			}
		case <-time.After(30 * time.Second):
			t.Errorf("%s is not refused", subject)
		}
	}
}

func cannotPush(t *testing.T, r *readable) {
	t.Helper()
	conn := r.connect(t)
	for _, subject := range []string{
		"$JS.API.CONSUMER.CREATE.LOG", "$JS.API.CONSUMER.CREATE.LOG.p", "$JS.API.CONSUMER.CREATE.LOG.p.log.a1", "$JS.API.CONSUMER.DURABLE.CREATE.LOG.p",
	} {
		for _, config := range []string{
			`"deliver_subject":"$KV.accounts.ann"`, `"Deliver_Subject":"$KV.accounts.ann"`, `"deliver_subject":"_INBOX.x"`,
			`"deliver_subject":"$JS.API.STREAM.DELETE.LOG","headers_only":true`, `"deliver_group":"x"`, `"direct":true`, `"sourcing":true`, `"unknown":1`,
		} {
			request := fmt.Sprintf(`{"stream_name":"LOG","config":{"name":"p","durable_name":"p","filter_subject":"log.a1",%s}}`, config)
			reply, err := conn.Request(subject, []byte(request), 30*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			var answer struct{ Error *struct{ Code int } }
			if err := json.Unmarshal(reply.Data, &answer); err != nil || answer.Error == nil {
				t.Errorf("%s with %s: %s", subject, config, reply.Data)
			}
		}
	}
}

// The answer to a request goes where the request says, which the server does not
// check: it must not become a request, or a write, of its own. A request for
// messages that are not there is answered with an empty body, which is what
// STREAM.DELETE and STREAM.PURGE want.
func cannotDivert(t *testing.T, r *readable) {
	t.Helper()
	conn := r.connect(t)
	// Requests whose answer resembles one for a consumer that pushes.
	requests := map[string]string{
		"$JS.API.CONSUMER.MSG.NEXT.LOG.mine": `{"no_wait":true,"batch":3}`,
		"$JS.API.CONSUMER.INFO.LOG.mine":     "",
		"$JS.API.STREAM.INFO.LOG":            "",
		"$JS.API.STREAM.MSG.GET.LOG":         `{"seq":1}`,
		"$JS.API.STREAM.NAMES":               "",
	}
	for range 5 { // the later ones find nothing left
		for subject, body := range requests {
			for _, reply := range forbidden {
				if err := conn.PublishRequest(subject, reply, []byte(body)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Request("$JS.API.INFO", nil, 30*time.Second); err != nil {
		t.Fatal(err)
	}
}
