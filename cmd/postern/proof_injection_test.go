package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
)

var hostileStrings = flag.Int("strings", 0, "try `N` strings in each field")

// Random strings in every field of what mail is sent by. Each is refused, or becomes
// part of one message that goes to whom it was for, with the header that was asked
// for and nothing beside it.
func TestProofNothingInjected(t *testing.T) {
	t.Parallel()
	inj := newInjection(t)
	fields := stringFields((&posternv1.CreateSubmissionRequest{}).ProtoReflect().Descriptor())
	n := scaled(hostileStrings, 40, 10_000)
	inj.each(func(w *injector, i int) {
		// One field at a time shows which one is at fault, and all at once what
		// they do to each other, which takes many strings in little time.
		alone := max(n/50, 4)
		w.random = inj.proof.source(uint64(1)<<40 | uint64(i))
		for j := range fields {
			some := alone
			switch {
			case !beside(fields[j].name):
				some = n
			case strings.HasPrefix(fields[j].name, "submission.envelope."):
				some = n // it often stands aside below
			}
			for range share(some, i, injectors) {
				w.create([]*hostileField{&fields[j]})
			}
		}
		w.random = inj.proof.source(uint64(2)<<40 | uint64(i))
		for range share(n-alone, i, injectors) {
			var some []*hostileField
			for j := range fields {
				if beside(fields[j].name) {
					some = append(some, &fields[j])
				}
			}
			w.create(some)
		}
	})
	inj.report("submission.to.name", "submission.subject", "submission.headers.value", "submission.attachments.filename")
}

// The same of the fields that only a mail merge has, and those that are templates there.
func TestProofNothingInjectedByMerges(t *testing.T) {
	t.Parallel()
	inj := newInjection(t)
	fields := stringFields((&posternv1.MergeSubmissionsRequest{}).ProtoReflect().Descriptor())
	fields = slices.DeleteFunc(fields, func(f hostileField) bool {
		templates := []string{"submission.subject", "submission.text", "submission.html", "submission.unsubscribe.url"}
		return strings.HasPrefix(f.name, "submission.") && !slices.Contains(templates, f.name)
	})
	n := scaled(hostileStrings, 40, 10_000)
	inj.each(func(w *injector, i int) {
		w.random = inj.proof.source(uint64(3)<<40 | uint64(i))
		for j := range fields {
			for range share(n, i, injectors) {
				w.merge(&fields[j])
			}
		}
	})
	inj.report("merge: recipients.variables.value")
}

// beside reports whether a field can be tried together with the others: not so the
// names of things that are not there, and what stands in place of all others.
func beside(field string) bool {
	return !slices.Contains([]string{
		"parent", "request_id", "submission.raw", "submission.draft", "submission.reply.message",
		"submission.attachments.attachment", "submission.attachments.upload",
	}, field)
}

// share is the part of n things that the i-th of some workers does.
func share(n, i, workers int) int { return n*(i+1)/workers - n*i/workers }

// injection is the proof under way.
type injection struct {
	proof  *proof
	client posternv1.SubmissionServiceClient

	mu     sync.Mutex
	tally  map[string]*tally
	faults []string
}

// tally counts what became of the strings in a field.
type tally struct{ sent, refused int }

// injectors is how many send at the same time.
const injectors = 6

func newInjection(t *testing.T) *injection {
	t.Helper()
	p := newProof(t)
	p.args = append(p.args, "--rate-per-token=1000000") // what is refused is refused fast
	p.start()
	p.register(injectors)
	conn, err := grpc.NewClient(grpcAddress.FindStringSubmatch(p.node.stderr.String())[1], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &injection{proof: p, tally: map[string]*tally{}, client: posternv1.NewSubmissionServiceClient(conn)}
}

// each has the injectors work side by side.
func (inj *injection) each(work func(w *injector, i int)) {
	inj.proof.t.Helper()
	var all sync.WaitGroup
	for i := range injectors {
		w := inj.newWorker(i)
		all.Go(func() { work(w, i) })
	}
	all.Wait()
}

// report says what became of the strings. Those in the fields named are both sent and
// refused.
func (inj *injection) report(both ...string) {
	p := inj.proof
	p.t.Helper()
	p.fail("injection", inj.faults)
	var sent, refused int
	var lines []string
	for name, t := range inj.tally {
		sent, refused = sent+t.sent, refused+t.refused
		lines = append(lines, fmt.Sprintf("%-40s %6d sent %6d refused", name, t.sent, t.refused))
	}
	slices.Sort(lines)
	p.t.Logf("%d messages sent, %d refused:\n%s", sent, refused, strings.Join(lines, "\n"))
	for _, name := range both {
		if t := inj.tally[name]; t == nil || t.sent == 0 || t.refused == 0 {
			p.t.Errorf("%s: %+v: all were treated alike", name, t)
		}
	}
}

// injector sends from an account of its own to a socket of its own, one message at a
// time, so that what the socket hears is of that message.
type injector struct {
	*injection
	parent string
	socket *socket
	random *rand.Rand
}

func (inj *injection) newWorker(i int) *injector {
	p := inj.proof
	p.t.Helper()
	w := &injector{injection: inj, parent: "accounts/" + p.mailboxes[i].id, socket: openSocket(p.t)}
	_, err := p.node.client().call(p.t.Context(), http.MethodPatch, "/v1/"+w.parent, map[string]any{"smtp": map[string]any{
		"host": "127.0.0.1", "port": w.socket.port, "tlsMode": "PLAINTEXT", "username": "ann", "password": "sesame",
	}})
	if err != nil {
		p.t.Fatal(err)
	}
	return w
}

// count notes what became of the string in a field.
func (inj *injection) count(field string, sent bool) {
	inj.mu.Lock()
	defer inj.mu.Unlock()
	if inj.tally[field] == nil {
		inj.tally[field] = &tally{}
	}
	if sent {
		inj.tally[field].sent++
	} else {
		inj.tally[field].refused++
	}
}

const maxInjectionFaults = 40

func (w *injector) fault(request proto.Message, format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.faults) < maxInjectionFaults {
		w.faults = append(w.faults, fmt.Sprintf(format, args...)+fmt.Sprintf("\n%.3000s", protojson.Format(request)))
	}
}

// goodSubmission has a value in every field that can stand beside the others.
func (w *injector) goodSubmission() *posternv1.Submission {
	person := func(name, address string) []*posternv1.Address {
		return []*posternv1.Address{{Name: name, Address: address}}
	}
	s := &posternv1.Submission{
		From: &posternv1.Address{Name: "Ann", Address: "ann@example.org"}, To: person("Bob", "bob@example.com"), Cc: person("Carl", "carl@example.com"),
		Bcc: person("Dora", "dora@example.com"), ReplyTo: person("Ann", "ann@example.net"),
		// No two are the same, or an id that comes up again would be that of a repetition.
		Subject: fmt.Sprintf("Hi there %d", w.random.Uint64()), Text: "Hello\n", Html: "<p>Hello</p>\n", Headers: []*posternv1.Header{{Name: "X-Order", Value: "4711"}},
		Attachments: []*posternv1.OutgoingAttachment{{
			Filename: "a.txt", ContentType: "text/plain", ContentId: "c1@example.org",
			Source: &posternv1.OutgoingAttachment_Content{Content: []byte("Subject: one\r\n\r\nhello")},
		}},
		Calendar:    &posternv1.CalendarObject{Method: "REQUEST", Content: "BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n"},
		Dsn:         &posternv1.Submission_DeliveryStatus{EnvelopeId: "e1"},
		Unsubscribe: &posternv1.Submission_Unsubscribe{At: &posternv1.Submission_Unsubscribe_Url{Url: "https://example.com/u"}},
		SaveToSent:  posternv1.Submission_NEVER, Wait: durationpb.New(30 * time.Second),
	}
	if w.random.IntN(3) == 0 {
		s.Attachments[0].ContentType = "message/rfc822"
	}
	return s
}

const goodRaw = "From: Ann <ann@example.org>\r\nTo: bob@example.com\r\nSubject: Hi\r\nMessage-ID: <raw@example.org>\r\n" +
	"Date: Fri, 27 Nov 2026 06:00:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\nHello\r\n"

// create makes a request with hostile strings in some fields. What is refused of them
// is replaced by what is good, until the rest is sent.
func (w *injector) create(fields []*hostileField) {
	request := &posternv1.CreateSubmissionRequest{Parent: w.parent, Submission: w.goodSubmission()}
	if w.random.IntN(3) == 0 {
		request.Submission.Envelope = &posternv1.Submission_Envelope{MailFrom: "return@example.org", RcptTo: []string{"rcpt@example.com"}}
	} else if len(fields) > 1 {
		fields = slices.DeleteFunc(slices.Clone(fields), func(f *hostileField) bool { return strings.HasPrefix(f.name, "submission.envelope.") })
	}
	good := map[string]string{}
	for _, f := range fields {
		good[f.name] = f.get(request)
	}
	wait := request.GetSubmission().GetWait()
	switch fields[0].name {
	case "submission.raw":
		good[fields[0].name] = goodRaw
		request.Submission = &posternv1.Submission{
			SaveToSent: posternv1.Submission_NEVER, Wait: wait,
			Envelope: &posternv1.Submission_Envelope{MailFrom: "ann@example.org", RcptTo: []string{"rcpt@example.com"}},
		}
	case "submission.draft":
		request.Submission = &posternv1.Submission{SaveToSent: posternv1.Submission_NEVER, Wait: wait}
	}
	broken := false
	for _, f := range fields {
		text := hostile(w.random, good[f.name])
		if isBroken(text) && (len(fields) > 1 || f.isBytes()) {
			text = good[f.name] // it would be refused, without a name of what is at fault
		}
		broken = broken || isBroken(text)
		f.set(request, text)
	}
	for {
		made := &posternv1.Submission{}
		refused := w.post(&post{
			request: request, body: request.GetSubmission(), path: request.GetParent() + "/submissions", rest: request.GetRequestId() == "", broken: broken, into: made,
			call: func(ctx context.Context) (proto.Message, error) { return w.client.CreateSubmission(ctx, request) },
		})
		if refused == nil {
			if made.GetState() != posternv1.Submission_SENT {
				w.fault(request, "taken, and then %s: %s", made.GetState(), protojson.Format(made))
			}
			w.judge(request, request.GetSubmission())
			for _, f := range fields {
				w.count(f.name, true)
			}
			return
		}
		w.expectSilence(request)
		rest := slices.DeleteFunc(slices.Clone(fields), func(f *hostileField) bool {
			named := len(fields) == 1 || refused.names(f.name)
			if named {
				w.count(f.name, false)
				f.set(request, good[f.name])
			}
			return named
		})
		if len(fields) == 1 {
			return
		}
		if len(rest) == len(fields) {
			w.fault(request, "refused without saying which of %d fields is at fault: %s", len(fields), refused)
			return
		}
		fields = rest
	}
}

// merge makes a mail merge with a hostile string in one field.
func (w *injector) merge(f *hostileField) {
	number := w.random.Uint64()
	common := &posternv1.Submission{
		From: &posternv1.Address{Name: "Ann", Address: "ann@example.org"}, Subject: fmt.Sprintf("Hi {{.name}} %d", number), Text: "Dear {{.name}}\n", Html: "<p>Dear {{.name}}</p>\n",
		Unsubscribe: &posternv1.Submission_Unsubscribe{At: &posternv1.Submission_Unsubscribe_Url{Url: "https://example.com/u?n={{urlquery .name}}"}},
		SaveToSent:  posternv1.Submission_NEVER,
	}
	request := &posternv1.MergeSubmissionsRequest{Parent: w.parent, Submission: common, Recipients: []*posternv1.MergeSubmissionsRequest_Recipient{{
		To: &posternv1.Address{Name: "Bob", Address: "bob@example.com"}, Variables: &structpb.Struct{Fields: map[string]*structpb.Value{"name": structpb.NewStringValue("Bob")}},
	}}}
	text := hostile(w.random, f.get(request))
	f.set(request, text)
	answer := &posternv1.MergeSubmissionsResponse{}
	refused := w.post(&post{
		request: request, body: request, path: request.GetParent() + "/submissions:merge", rest: true, broken: isBroken(text), into: answer,
		call: func(ctx context.Context) (proto.Message, error) { return w.client.MergeSubmissions(ctx, request) },
	})
	sent := refused == nil && answer.GetResults()[0].GetError() == nil
	w.count("merge: "+f.name, sent)
	if !sent {
		w.expectSilence(request)
		return
	}
	w.awaitSent(request, answer.GetResults()[0].GetSubmission())
	// What the templates became is in the message; whom it is for and what header it
	// has follow from the request.
	asked := &posternv1.Submission{
		From: common.GetFrom(), To: []*posternv1.Address{request.GetRecipients()[0].GetTo()}, Unsubscribe: common.GetUnsubscribe(),
	}
	if f.name == "recipients.variables.value" {
		asked.Subject, asked.Text = fmt.Sprintf("Hi %s %d", text, number), "Dear "+text+"\n"
	}
	w.judge(request, asked)
}

// awaitSent waits until a submission of a merge was sent.
func (w *injector) awaitSent(request proto.Message, name string) {
	ctx := w.context()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		s, err := w.client.GetSubmission(ctx, &posternv1.GetSubmissionRequest{Name: name})
		if err != nil {
			w.fault(request, "%s: %v", name, err)
			return
		}
		switch s.GetState() {
		case posternv1.Submission_SENT:
			return
		case posternv1.Submission_QUEUED, posternv1.Submission_SENDING:
			<-time.After(time.Millisecond)
		default:
			w.fault(request, "taken, and then %s: %s", s.GetState(), protojson.Format(s))
			return
		}
	}
	w.fault(request, "%s is not sent", name)
}

func (w *injector) context() context.Context {
	return metadata.AppendToOutgoingContext(w.proof.t.Context(), "authorization", "Bearer "+proofToken)
}

// post is a call to be made.
type post struct {
	request, body, into proto.Message
	// path is that of REST, below /v1/; rest says that it can be said there.
	path string
	rest bool
	// broken says that a text is not Unicode, which only JSON can say.
	broken bool
	call   func(context.Context) (proto.Message, error)
}

// refusal is what was said against a request.
type refusal struct {
	*statuspb.Status
	fields []string
}

// names reports whether a field is said to be at fault.
func (r *refusal) names(field string) bool { return slices.Contains(r.fields, field) }

var listIndex = regexp.MustCompile(`\[[0-9]+\]`)

func newRefusal(s *statuspb.Status) *refusal {
	r := &refusal{Status: s}
	for _, detail := range status.FromProto(s).Details() {
		if bad, ok := detail.(*errdetails.BadRequest); ok {
			for _, v := range bad.GetFieldViolations() {
				r.fields = append(r.fields, listIndex.ReplaceAllString(v.GetField(), ""))
			}
		}
	}
	return r
}

// post makes a call, by REST or by gRPC, and says how it was refused. The request is
// at fault in all of these cases; anything else is a fault of the gateway.
func (w *injector) post(p *post) *refusal {
	var answer *statuspb.Status
	if byREST := w.random.IntN(2) == 0; w.plainPath(p) && (byREST || p.broken) {
		var err error
		if answer, err = w.rest(p); err != nil {
			w.fault(p.request, "by REST: %v", err)
			return &refusal{}
		}
	} else {
		made, err := p.call(w.context())
		if err == nil {
			proto.Merge(p.into, made)
		}
		answer = status.Convert(err).Proto()
	}
	switch codes.Code(answer.GetCode()) {
	case codes.OK:
		if p.broken {
			w.fault(p.request, "text that is not Unicode was taken")
		}
		return nil
	case codes.InvalidArgument, codes.NotFound, codes.FailedPrecondition:
	default:
		w.fault(p.request, "failed: %v", answer)
	}
	return newRefusal(answer)
}

// plainPath reports whether a call can be made by REST: where its path or a header
// says what a hostile field does, it is not the same call.
func (w *injector) plainPath(p *post) bool {
	return p.rest && (p.path == w.parent+"/submissions" || p.path == w.parent+"/submissions:merge")
}

// rest makes a call by REST, and gives the status of the answer.
func (w *injector) rest(p *post) (*statuspb.Status, error) {
	text, err := protojson.Marshal(p.body)
	if err != nil {
		return nil, err
	}
	text = bytes.ReplaceAll(text, []byte(loneSurrogate), []byte(`\ud83d`))
	text = bytes.ReplaceAll(text, []byte(brokenByte), []byte{0xff})
	request, err := http.NewRequestWithContext(w.proof.t.Context(), http.MethodPost, w.proof.node.base+"/v1/"+p.path, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+proofToken)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode == http.StatusOK {
		return nil, protojson.Unmarshal(answer, p.into)
	}
	failed := &statuspb.Status{}
	return failed, protojson.Unmarshal(answer, failed)
}

// expectSilence checks that nothing was sent of what was refused.
func (w *injector) expectSilence(request proto.Message) {
	if h := w.socket.take(); len(h.messages) > 0 || slices.ContainsFunc(h.commands, func(c string) bool { return strings.HasPrefix(c, "MAIL") }) {
		w.fault(request, "refused, and sent: %q", h.commands)
	}
}
