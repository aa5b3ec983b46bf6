package submit_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/natsd"
	"github.com/postern-mail/postern/internal/natsdtest"
	"github.com/postern-mail/postern/internal/secret"
	"github.com/postern-mail/postern/internal/smtpconn"
	"github.com/postern-mail/postern/internal/smtptest"
	"github.com/postern-mail/postern/internal/submit"
	"github.com/postern-mail/postern/internal/waittest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// The shared Dovecot lives as long as the test binary.
		goleak.IgnoreAnyFunction("os/exec.(*Cmd).Wait"),
		goleak.IgnoreAnyFunction("os.(*Process).Wait"),
	)
}

const patience = time.Minute

// accounts are those of the tests, and reach their SMTP server.
type accounts map[string]*account.Account

func (a accounts) Get(_ context.Context, id string) (*account.Account, error) {
	if found := a[id]; found != nil {
		return found, nil
	}
	return nil, account.ErrNotFound
}

func (accounts) SMTPConfig(_ context.Context, a *account.Account) (smtpconn.Config, error) {
	return smtpconn.Config{
		Host: a.SMTP.Host, Port: a.SMTP.Port, TLSMode: imapconn.ModePlaintext,
		TLS:         &tls.Config{MinVersion: tls.VersionTLS12},
		Credentials: imapconn.Credentials{Username: smtptest.Username, Password: smtptest.Password},
	}, nil
}

func (accounts) SMTPRefused(context.Context, *account.Account) bool { return false }

// mailbox stands for the account's mailbox.
type mailbox struct {
	sent  atomic.Bool // the message is in Sent
	saved atomic.Int32
	fail  atomic.Bool
}

func (m *mailbox) FindSent(context.Context, *account.Account, string) (bool, error) {
	return m.sent.Load(), nil
}

func (m *mailbox) SaveSent(_ context.Context, _ *account.Account, _ *submit.Submission, open func() (io.Reader, error)) error {
	if m.fail.Load() {
		return errors.New("not now")
	}
	if _, err := open(); err != nil {
		return err
	}
	m.saved.Add(1)
	return nil
}

func (*mailbox) MarkAnswered(context.Context, *account.Account, *submit.Answered) error { return nil }
func (*mailbox) RemoveDraft(context.Context, *account.Account, string) error            { return nil }

// world is an outbox with a store and an SMTP server.
type world struct {
	store    *submit.Store
	smtp     *smtptest.Server
	accounts accounts
	mailbox  *mailbox
	senders  *submit.Senders
}

func newWorld(t *testing.T, config smtptest.Config) *world {
	t.Helper()
	return newWorldOn(t, natsdtest.JetStream(t, natsdtest.Start(t, natsd.Config{})), config)
}

func newWorldOn(t *testing.T, js jetstream.JetStream, config smtptest.Config) *world {
	t.Helper()
	store, err := submit.OpenStore(t.Context(), js, 1, submit.Bounds{})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{store: store, smtp: smtptest.Start(t, config), accounts: accounts{}, mailbox: &mailbox{}}
	w.accounts["ann"] = &account.Account{ID: "ann", SMTP: &account.Endpoint{
		Host: w.smtp.Host, Port: w.smtp.Port, TLSMode: account.Plaintext, Username: smtptest.Username, Password: secret.New(smtptest.Password),
	}}
	w.senders = submit.NewSenders(w.accounts, nil)
	t.Cleanup(w.senders.Close)
	return w
}

func (w *world) config() submit.Config {
	return submit.Config{
		Store: w.store, Accounts: w.accounts, Sender: w.senders, Mailbox: w.mailbox,
		Pause: func(int) time.Duration { return 10 * time.Millisecond },
	}
}

// run runs an outbox until the returned function is called.
func run(t *testing.T, config submit.Config) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- submit.NewOutbox(config).Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the outbox ended with %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

func draft(to ...string) *submit.Submission {
	s := &submit.Submission{Account: "ann", From: "ann@example.org", MessageID: "1@example.org", Save: submit.SaveAuto, ID: submit.NewID(time.Now())}
	for _, address := range to {
		s.Recipients = append(s.Recipients, submit.Recipient{Address: address})
	}
	return s
}

const text = "Message-ID: <1@example.org>\r\nSubject: Hi\r\n\r\nHello\r\n"

func (w *world) create(t *testing.T, s *submit.Submission) *submit.Submission {
	t.Helper()
	made, err := w.store.Create(t.Context(), s, time.Hour, body(text))
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// await waits until the submission is as ok says.
func (w *world) await(t *testing.T, s *submit.Submission, ok func(*submit.Submission) bool) *submit.Submission {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		got, err := w.store.Get(t.Context(), s.Account, s.ID)
		if err != nil {
			t.Fatal(err)
		}
		if ok(got) {
			return got
		}
		if time.Now().After(deadline) {
			t.Fatalf("the submission is %+v", got)
		}
		<-tick.C
	}
}

func (w *world) awaitState(t *testing.T, s *submit.Submission, state submit.State) *submit.Submission {
	t.Helper()
	return w.await(t, s, func(s *submit.Submission) bool { return s.State == state })
}

func states(s *submit.Submission) string {
	var names []string
	for _, transition := range s.Transitions {
		names = append(names, string(transition.State))
	}
	return strings.Join(names, " ")
}

func TestWhatIsCreatedIsSentAndSaved(t *testing.T) {
	t.Parallel()
	w := newWorld(t, smtptest.Config{})
	run(t, w.config())
	made := w.create(t, draft("bob@example.com", "eve@example.com"))
	if made.State != submit.Queued || made.Size != int64(len(text)) {
		t.Errorf("created as %+v", made)
	}
	rested, err := w.store.Wait(t.Context(), made)
	if err != nil || rested.State != submit.Sent {
		t.Errorf("came to rest as %+v, %v", rested, err)
	}
	got := w.await(t, made, func(s *submit.Submission) bool { return s.Saved })
	if got.Attempts != 1 || got.Recipients[0].State != submit.RecipientSent || states(got) != "QUEUED SENT" {
		t.Errorf("submission %+v", got)
	}
	deliveries := w.smtp.Wait(t, 1)
	if string(deliveries[0].Data) != text || fmt.Sprint(deliveries[0].To) != "[bob@example.com eve@example.com]" {
		t.Errorf("delivery %+v", deliveries[0])
	}
	if w.mailbox.saved.Load() != 1 {
		t.Errorf("%d copies saved", w.mailbox.saved.Load())
	}
	waittest.For(t, "the message to be forgotten", func() bool {
		_, err := w.store.Body(t.Context(), "ann", made.ID)
		_, gone := errors.AsType[*submit.BodyError](err)
		return gone
	})
}

func TestTransitionsAreToldOnceAndThenForgotten(t *testing.T) {
	t.Parallel()
	w := newWorld(t, smtptest.Config{})
	run(t, w.config())
	made := w.create(t, draft("bob@example.com"))
	w.await(t, made, func(s *submit.Submission) bool { return s.Saved })
	untold, err := w.store.Untold(t.Context(), "ann", nil, 10)
	if err != nil || len(untold) != 2 || untold[0].State != submit.Queued || untold[1].Number != 2 {
		t.Fatalf("untold %+v, %v", untold, err)
	}
	some, err := w.store.Untold(t.Context(), "ann", []string{made.ID}, 10)
	if err != nil || len(some) != 2 {
		t.Errorf("untold of the one %+v, %v", some, err)
	}
	if none, err := w.store.Untold(t.Context(), "ann", []string{submit.NewID(time.Now())}, 10); err != nil || len(none) != 0 {
		t.Errorf("untold of another %+v, %v", none, err)
	}
	if err := w.store.Told(t.Context(), "ann", made.ID, 1); err != nil {
		t.Fatal(err)
	}
	if untold, err = w.store.Untold(t.Context(), "ann", nil, 10); err != nil || len(untold) != 1 || untold[0].State != submit.Sent {
		t.Fatalf("untold %+v, %v", untold, err)
	}
	if err := w.store.Told(t.Context(), "ann", made.ID, 2); err != nil {
		t.Fatal(err)
	}
	if untold, err = w.store.Untold(t.Context(), "ann", nil, 10); err != nil || len(untold) != 0 {
		t.Errorf("untold %+v, %v", untold, err)
	}
	if _, err := w.store.Get(t.Context(), "ann", made.ID); err != nil {
		t.Errorf("the submission itself is kept: %v", err)
	}
}

func TestRefusalsForNowAreTriedAgain(t *testing.T) {
	t.Parallel()
	var tries atomic.Int32
	w := newWorld(t, smtptest.Config{Rcpt: func(to string) error {
		if to == "busy@example.com" && tries.Add(1) < 4 {
			return &smtp.SMTPError{Code: 450, EnhancedCode: smtp.EnhancedCode{4, 2, 1}, Message: "greylisted"}
		}
		return nil
	}})
	run(t, w.config())
	made := w.create(t, draft("bob@example.com", "busy@example.com"))
	got := w.awaitState(t, made, submit.Sent)
	if got.Attempts != 4 || states(got) != "QUEUED DEFERRED DEFERRED DEFERRED SENT" {
		t.Errorf("after %d attempts: %s", got.Attempts, states(got))
	}
	deliveries := w.smtp.Wait(t, 2)
	if len(deliveries) != 2 || fmt.Sprint(deliveries[0].To, deliveries[1].To) != "[bob@example.com] [busy@example.com]" {
		t.Errorf("%d deliveries: who has the message must not get it again", len(deliveries))
	}
}

func TestAnIDStandsForOneSubmission(t *testing.T) {
	t.Parallel()
	w := newWorld(t, smtptest.Config{})
	run(t, w.config())
	once := draft("bob@example.com")
	done := make(chan error, 8)
	for range cap(done) {
		go func() {
			made, err := w.store.Create(t.Context(), once, time.Hour, body(text))
			if err == nil && made.ID != once.ID {
				err = errors.New("the id is " + made.ID)
			}
			done <- err
		}()
	}
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	w.awaitState(t, once, submit.Sent)
	w.awaitState(t, w.create(t, draft("bob@example.com")), submit.Sent)
	if n := len(w.smtp.Deliveries()); n != 2 {
		t.Errorf("%d deliveries", n)
	}
}

// Two that create the same at the same time both write; the first one's message counts,
// and nothing of the other is left.
func TestTheSameCreatedTwiceAtOnceIsWhole(t *testing.T) {
	t.Parallel()
	w := newWorld(t, smtptest.Config{})
	for _, size := range []int{100, 100 << 10} {
		s := draft("bob@example.com")
		s.ID = submit.NewID(time.Now())
		var ready, done sync.WaitGroup
		made := make([]*submit.Submission, 8)
		ready.Add(len(made))
		for i := range made {
			done.Go(func() {
				var err error
				made[i], err = w.store.Create(t.Context(), s, time.Hour, func(to io.Writer, _ *submit.Submission) error {
					ready.Done()
					ready.Wait() // all are in the midst of it
					_, err := io.WriteString(to, strings.Repeat(fmt.Sprint(i), size))
					return err
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		done.Wait()
		body, err := w.store.Body(t.Context(), "ann", s.ID)
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(body)
		if err != nil || len(content) != size || strings.Count(string(content), string(content[:1])) != size {
			t.Errorf("%d bytes are kept, %v: %.100q", len(content), err, content)
		}
		for _, m := range made {
			if m.Revision != made[0].Revision || !m.CreateTime.Equal(made[0].CreateTime) {
				t.Errorf("answered with %+v and %+v", m, made[0])
			}
		}
	}
}

func TestABodyThatFailsLeavesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, smtptest.Config{})
	errMine := errors.New("mine")
	once := draft("bob@example.com")
	_, err := w.store.Create(t.Context(), once, time.Hour, func(w io.Writer, _ *submit.Submission) error {
		_, _ = io.WriteString(w, text)
		return errMine
	})
	if !errors.Is(err, errMine) {
		t.Errorf("error %v", err)
	}
	// The same request may come again.
	run(t, w.config())
	w.awaitState(t, w.create(t, once), submit.Sent)
	if page, err := w.store.List(t.Context(), "ann", "", 10); err != nil || len(page) != 1 {
		t.Errorf("%d submissions, %v", len(page), err)
	}
}

// body is a message as it stands.
func body(text string) submit.WriteFunc {
	return func(w io.Writer, _ *submit.Submission) error {
		_, err := io.WriteString(w, text)
		return err
	}
}

func TestScheduledMailWaitsAndSurvivesRestarts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, smtptest.Config{})
	stop := run(t, w.config())
	s := draft("bob@example.com")
	s.SendTime = time.Now().Add(time.Second)
	made := w.create(t, s)
	if made.State != submit.Scheduled {
		t.Errorf("created as %s", made.State)
	}
	stop()
	run(t, w.config())
	got := w.awaitState(t, made, submit.Sent)
	if got.EndTime.Before(s.SendTime) {
		t.Errorf("sent at %v, scheduled for %v", got.EndTime, s.SendTime)
	}
}

func TestCanceledMailIsNotSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, smtptest.Config{})
	run(t, w.config())
	s := draft("bob@example.com")
	s.SendTime = time.Now().Add(time.Hour)
	made := w.create(t, s)
	for range 2 { // it may be said twice
		got, err := w.store.Cancel(t.Context(), "ann", made.ID)
		if err != nil || got.State != submit.Canceled || got.Recipients[0].State != submit.RecipientCanceled {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	if _, err := w.store.Retry(t.Context(), "ann", made.ID, time.Hour); err == nil {
		t.Error("what was canceled is retried")
	}
	sent := w.create(t, draft("bob@example.com"))
	w.awaitState(t, sent, submit.Sent)
	var state *submit.StateError
	if _, err := w.store.Cancel(t.Context(), "ann", sent.ID); !errors.As(err, &state) || state.State != submit.Sent {
		t.Errorf("cancel what was sent: %v", err)
	}
	if n := len(w.smtp.Deliveries()); n != 1 {
		t.Errorf("%d deliveries", n)
	}
}

// A message that is on its way can be canceled until its end goes out, and is then not
// delivered.
func TestMailCanBeCanceledOnItsWay(t *testing.T) {
	t.Parallel()
	onItsWay, canceled := make(chan struct{}), make(chan struct{})
	w := newWorld(t, smtptest.Config{Rcpt: func(to string) error {
		if to == "bob@example.com" {
			close(onItsWay)
			<-canceled
		}
		return nil
	}})
	run(t, w.config())
	made := w.create(t, draft("bob@example.com"))
	select {
	case <-onItsWay:
	case <-time.After(time.Minute):
		t.Fatal("it is not being sent")
	}
	_, err := w.store.Cancel(t.Context(), "ann", made.ID)
	close(canceled)
	if err != nil {
		t.Fatal(err)
	}
	after := w.create(t, draft("eve@example.com"))
	w.awaitState(t, after, submit.Sent)
	if got := w.smtp.Wait(t, 1); len(got) != 1 || got[0].To[0] != "eve@example.com" {
		t.Errorf("delivered %+v", got)
	}
	if s := w.awaitState(t, made, submit.Canceled); states(s) != "QUEUED CANCELED" {
		t.Errorf("it was %s", states(s))
	}
}

func TestDoubtIsHeldUnlessTheSentFolderKnows(t *testing.T) {
	t.Parallel()
	var cut atomic.Bool
	cut.Store(true)
	w := newWorld(t, smtptest.Config{CutAfterEnd: func(string) bool { return cut.Load() }})
	run(t, w.config())
	made := w.create(t, draft("bob@example.com"))
	got := w.awaitState(t, made, submit.Uncertain)
	if got.Recipients[0].State != submit.RecipientUncertain || got.Attempts != 1 {
		t.Errorf("submission %+v", got)
	}
	if n := len(w.smtp.Deliveries()); n != 1 {
		t.Fatalf("%d deliveries: what is in doubt is not sent again", n)
	}
	w.mailbox.sent.Store(true)
	known := w.create(t, draft("bob@example.com"))
	w.awaitState(t, known, submit.Sent)
	// A person may decide otherwise.
	cut.Store(false)
	if _, err := w.store.Retry(t.Context(), "ann", made.ID, time.Hour); err != nil {
		t.Fatal(err)
	}
	if got = w.awaitState(t, made, submit.Sent); states(got) != "QUEUED UNCERTAIN QUEUED SENT" {
		t.Errorf("transitions %s", states(got))
	}
}

func TestACopyThatCannotBeSavedIsTriedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, smtptest.Config{})
	w.mailbox.fail.Store(true)
	run(t, w.config())
	made := w.create(t, draft("bob@example.com"))
	w.await(t, made, func(s *submit.Submission) bool { return s.State == submit.Sent && s.SaveAttempts > 1 })
	w.mailbox.fail.Store(false)
	w.await(t, made, func(s *submit.Submission) bool { return s.Saved })
	if n := len(w.smtp.Deliveries()); n != 1 {
		t.Errorf("%d deliveries", n)
	}
}

// A former outbox that goes on after another has taken over must not send what that
// one has taken up.
func TestAFormerOutboxIsFencedOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t, smtptest.Config{})
	held, release := make(chan struct{}), make(chan struct{})
	former := w.config()
	former.Sender = pausedSender{w.senders, held, release}
	stopFormer := run(t, former)
	made := w.create(t, draft("bob@example.com"))
	<-held // all is sent but the end
	next := run(t, w.config())
	w.awaitState(t, made, submit.Sent)
	next()
	close(release)
	stopFormer() // which waits for what it does
	got, err := w.store.Get(t.Context(), "ann", made.ID)
	if err != nil || got.State != submit.Sent {
		t.Errorf("%+v, %v", got, err)
	}
	if n := len(w.smtp.Deliveries()); n != 1 {
		t.Errorf("%d deliveries", n)
	}
}

// pausedSender stops before the end of the first message.
type pausedSender struct {
	submit.Sender
	held, release chan struct{}
}

func (p pausedSender) Send(ctx context.Context, a *account.Account, m *smtpconn.Message) (*smtpconn.Receipt, error) {
	end := m.BeforeEnd
	m.BeforeEnd = func(ctx context.Context) error {
		select {
		case <-p.held:
		default:
			close(p.held)
		}
		<-p.release
		return end(ctx)
	}
	return p.Sender.Send(ctx, a, m)
}

func TestAnAccountThatIsGoneFailsItsMail(t *testing.T) {
	t.Parallel()
	w := newWorld(t, smtptest.Config{})
	delete(w.accounts, "ann")
	run(t, w.config())
	w.awaitState(t, w.create(t, draft("bob@example.com")), submit.Failed)
}

func TestListIsInOrderAndPaged(t *testing.T) {
	t.Parallel()
	w := newWorld(t, smtptest.Config{})
	var made []string
	for range 7 {
		made = append(made, w.create(t, draft("bob@example.com")).ID)
	}
	slices.Sort(made)
	slices.Reverse(made)
	var got []string
	for after := ""; ; {
		page, err := w.store.List(t.Context(), "ann", after, 3)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range page {
			got = append(got, s.ID)
		}
		if len(page) < 3 {
			break
		}
		after = got[len(got)-1]
	}
	if !slices.Equal(got, made) {
		t.Errorf("listed %v, want %v", got, made)
	}
}
