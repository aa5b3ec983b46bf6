package gateway

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/postern-mail/postern/internal/access"
)

// calls is what every call goes through, whichever way it comes: who is it, is
// the request well-formed, and what becomes of its error. The interceptors of
// both gRPC servers and the hand-written routes use the same one.
type calls struct {
	auth      access.Authenticator
	validator protovalidate.Validator
	log       *slog.Logger
	// storage says why nothing can be stored, where that can be known.
	storage func() error
	// limiter keeps calls about one account within their limit, and lets them run.
	// The rest of the limits is the entrance's.
	limiter *limiter
	// audit takes every call; nil where no audit log is kept.
	audit *auditor
	// access writes a line for each call. It is off where the HTTP server
	// writes the line.
	access bool
	// turns lets calls run by turns of their tokens. It is off where the HTTP server
	// does that.
	turns bool
}

// Metadata keys, which are header names too.
const (
	headerAuthorization  = "authorization"
	headerRequestID      = "x-request-id"
	headerIdempotencyKey = "idempotency-key"
)

// open reports whether a method can be called without a token: what tells that
// the gateway lives and what its API looks like, which is no secret.
func open(method string) bool {
	return strings.HasPrefix(method, "/grpc.health.") || strings.HasPrefix(method, "/grpc.reflection.")
}

// admit finds out who calls, and whether they may. The context that it returns
// holds them.
func (c *calls) admit(ctx context.Context, method string, authorization []string) (context.Context, error) {
	if open(method) {
		return access.With(ctx, access.Principal{ID: "-"}), nil
	}
	who := access.From(ctx)
	if who.ID == "" { // or the entrance knows already
		var err error
		who, err = authenticate(ctx, c.auth, authorization)
		ctx = access.With(ctx, who)
		if err != nil {
			noteCaller(ctx, who.ID)
			return ctx, err
		}
	}
	noteCaller(ctx, who.ID)
	return ctx, mayCall(who, method)
}

// check validates a request by the rules in its proto file, and counts it for the
// account that it is about.
func (c *calls) check(ctx context.Context, req any) error {
	if err := c.validate(req); err != nil {
		return err
	}
	return c.limiter.account(ctx, req)
}

func (c *calls) validate(req any) error {
	msg, ok := req.(proto.Message)
	if !ok {
		return nil
	}
	if err := countElements(msg.ProtoReflect()); err != nil {
		return err
	}
	err := c.validator.Validate(msg)
	var invalid *protovalidate.ValidationError
	if !errors.As(err, &invalid) {
		return err
	}
	bad := &errdetails.BadRequest{}
	var texts []string
	for _, v := range invalid.Violations[:min(len(invalid.Violations), maxViolations)] {
		violation := &errdetails.BadRequest_FieldViolation{
			Field:       protovalidate.FieldPathString(v.Proto.GetField()),
			Description: violationText(msg.ProtoReflect().Descriptor(), v),
			Reason:      string(reasonArgumentInvalid),
		}
		bad.FieldViolations = append(bad.FieldViolations, violation)
		texts = append(texts, fieldText(violation))
	}
	return refuse(codes.InvalidArgument, reasonArgumentInvalid, "The request is not valid: %s.",
		strings.Join(texts, "; ")).detail(bad)
}

// fieldText is what the message of an error says of one field. Some rules are
// about the request as a whole.
func fieldText(v *errdetails.BadRequest_FieldViolation) string {
	if v.GetField() == "" {
		return v.GetDescription()
	}
	return v.GetField() + ": " + v.GetDescription()
}

// finish turns the outcome of a call into what the client gets, and logs the
// errors that the operator has to see. crash is what recover gave.
func (c *calls) finish(ctx context.Context, method string, err error, crash any) error {
	if crash != nil {
		f := refuse(codes.Internal, reasonInternal,
			"Something went wrong inside Postern. Its log has the details under the id %s.", requestID(ctx)).
			with("id", requestID(ctx))
		c.log.ErrorContext(ctx, "panic in a call", "method", method, "request_id", requestID(ctx),
			"panic", crash, "stack", string(debug.Stack()))
		return f
	}
	if err == nil {
		return nil
	}
	if hasEnded(ctx) {
		err = tokenEnded()
	}
	f := c.explain(classify(ctx, err))
	if f.code == codes.Internal {
		c.log.ErrorContext(ctx, "call failed", "method", method, "request_id", requestID(ctx), "reason", f.reason, "error", err)
	}
	return f
}

// note writes the access log's line. It has no arguments and no content.
func (c *calls) note(ctx context.Context, method string, begin time.Time, err error) {
	if !c.access || open(method) {
		return
	}
	s := status.Convert(err)
	c.log.InfoContext(ctx, "grpc", "method", method, "code", s.Code().String(), "reason", string(reasonOf(s)),
		"principal", access.From(ctx).ID, "request_id", requestID(ctx), "duration", time.Since(begin))
}

// unary is the interceptor of calls with one answer.
func (c *calls) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
	begin := time.Now()
	defer claim(ctx)()
	md, _ := metadata.FromIncomingContext(ctx)
	ctx = withRequestID(ctx, md.Get(headerRequestID))
	end := func() {}
	defer func() { end() }() // after the outcome is known: it cancels the context
	defer func() {
		if err = c.finish(ctx, info.FullMethod, err, recover()); err != nil {
			resp = nil
		}
		c.note(ctx, info.FullMethod, begin, err)
		if c.audit != nil {
			audited := called{method: info.FullMethod, begin: begin}
			audited.names.inRequest(req)
			audited.names.inAnswer(resp)
			c.audit.note(ctx, audited, err)
		}
	}()
	if grpc.ServerTransportStreamFromContext(ctx) != nil { // it came over the network
		// A header that cannot be set any more belongs to a call that has ended.
		_ = grpc.SetHeader(ctx, metadata.Pairs(headerRequestID, requestID(ctx)))
	}
	if ctx, err = c.admit(ctx, info.FullMethod, md.Get(headerAuthorization)); err != nil {
		return nil, err
	}
	ctx, end = whileValid(ctx)
	if c.turns {
		var ran func()
		if ctx, ran, err = c.limiter.run(ctx, access.From(ctx).ID); err != nil {
			return nil, err
		}
		defer ran()
	}
	if err := applyIdempotencyKey(req, md.Get(headerIdempotencyKey)); err != nil {
		return nil, err
	}
	if err := c.check(ctx, req); err != nil {
		return nil, err
	}
	if err := c.room(info.FullMethod); err != nil {
		return nil, err
	}
	return handler(ctx, req)
}

// stream is the interceptor of calls with many answers.
func (c *calls) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
	begin := time.Now()
	defer claim(stream.Context())()
	md, _ := metadata.FromIncomingContext(stream.Context())
	ctx := withRequestID(stream.Context(), md.Get(headerRequestID))
	end := func() {}
	defer func() { end() }() // after the outcome is known: it cancels the context
	checked := &checkedStream{ServerStream: stream, check: c.check, makes: !info.IsServerStream}
	defer func() {
		err = c.finish(ctx, info.FullMethod, err, recover())
		c.note(ctx, info.FullMethod, begin, err)
		c.audit.note(ctx, called{method: info.FullMethod, begin: begin, names: checked.seenNames()}, err)
	}()
	_ = stream.SetHeader(metadata.Pairs(headerRequestID, requestID(ctx)))
	if ctx, err = c.admit(ctx, info.FullMethod, md.Get(headerAuthorization)); err != nil {
		return err
	}
	ctx, end = whileValid(ctx)
	checked.context, checked.pace = ctx, newPace(&c.limiter.limits)
	if isWatch(info.FullMethod) {
		checked.asked = func() {
			c.audit.note(ctx, called{method: info.FullMethod, begin: begin, names: checked.seenNames(), begun: true}, nil)
		}
	}
	return checked.pace.run(ctx, func() error { return handler(srv, checked) })
}

// unknownMethod is the failure of calls of what there is not.
func unknownMethod(method string) *failure {
	return refuse(codes.Unimplemented, reasonMethodNotAllowed, "There is no method %s here: see the reference, or ask by reflection.", said(method))
}

// checkedStream validates what the client sends, does not wait for it for ever, and
// carries the call's context.
type checkedStream struct {
	grpc.ServerStream
	// A ServerStream hands its context out by a method: there is no other way
	// to give the handler ours.
	context context.Context //nolint:containedctx // see above
	check   func(context.Context, any) error
	pace    *pace
	// makes says that the answer is one, of what the call has made.
	makes bool
	// asked, where it is given, is called once when the client has asked for
	// something that is valid.
	asked func()

	// The handler may still be at work when the stream has ended.
	mu    sync.Mutex
	names resourceNames
}

// seenNames are the names of what the stream is about, as far as it is known.
func (s *checkedStream) seenNames() resourceNames {
	s.mu.Lock()
	defer s.mu.Unlock()
	return resourceNames{list: slices.Clone(s.names.list)}
}

// Context implements [grpc.ServerStream].
func (s *checkedStream) Context() context.Context { return s.context }

// RecvMsg implements [grpc.ServerStream].
func (s *checkedStream) RecvMsg(m any) error {
	if err := s.pace.receive(func() error { return s.ServerStream.RecvMsg(m) }); err != nil {
		return err
	}
	s.mu.Lock()
	s.names.inRequest(m)
	s.mu.Unlock()
	err := s.check(s.context, m)
	if err == nil && s.asked != nil {
		s.asked()
		s.asked = nil
	}
	return err
}

// SendMsg implements [grpc.ServerStream].
func (s *checkedStream) SendMsg(m any) error {
	if s.makes {
		s.mu.Lock()
		s.names.inAnswer(m)
		s.mu.Unlock()
	}
	return s.pace.send(func() error { return s.ServerStream.SendMsg(m) })
}

// applyIdempotencyKey puts the Idempotency-Key header into the request_id of a
// request that has that field. Requests without it are idempotent by nature.
func applyIdempotencyKey(req any, keys []string) error {
	msg, ok := req.(proto.Message)
	if !ok || len(keys) == 0 || keys[0] == "" {
		return nil
	}
	m := msg.ProtoReflect()
	field := m.Descriptor().Fields().ByName("request_id")
	if field == nil || field.Kind() != protoreflect.StringKind {
		return nil
	}
	if given := m.Get(field).String(); given != "" && given != keys[0] {
		return refuseField("request_id", reasonArgumentInvalid,
			"The Idempotency-Key header and request_id differ: give one of them.")
	}
	m.Set(field, protoreflect.ValueOfString(keys[0]))
	return nil
}
