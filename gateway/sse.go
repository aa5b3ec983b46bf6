package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
)

const (
	// sseRetry is how long a browser waits before it reconnects.
	sseRetry = 2 * time.Second
	// frameTimeout bounds how long a client may take for one frame, unless the limit
	// for streams is shorter.
	frameTimeout = 30 * time.Second
)

// Names of the frames that are not events. None is "error", which a browser's
// EventSource keeps for failures of the connection.
const (
	frameHeartbeat = "heartbeat"
	frameDraining  = "draining"
	frameFailure   = "failure"
)

// watchSSE serves GET /v1/events:watch: the frames of WatchEvents as
// server-sent events (HTML, section 9.2). It is written by hand because the
// data of a frame is the event's own bytes, and gRPC carries an object.
func (g *Gateway) watchSSE(w http.ResponseWriter, r *http.Request, _ map[string]string) {
	if isHead(r.Context()) { // it would wait for events that nobody gets
		writeError(w, r, refuse(codes.Unimplemented, reasonMethodNotAllowed, "A watch has no end, so it does not take the method HEAD."))
		return
	}
	authorization := r.Header.Values("Authorization")
	var ticketed *visit
	if given := r.URL.Query().Get("ticket"); given != "" {
		var err error
		if ticketed, err = g.events.tickets.visitOf(r, given); err != nil {
			g.calls.audit.note(r.Context(), called{method: posternv1.EventService_WatchEvents_FullMethodName, begin: time.Now()}, err)
			writeError(w, r, classify(r.Context(), err))
			return
		}
		if ticketed != nil {
			if r, authorization, err = ticketed.shown(r); err != nil {
				writeError(w, r, classify(r.Context(), err))
				return
			}
			// The ticket is all the authority that the request has: whichever
			// page has it may use it.
			w.Header().Set("Access-Control-Allow-Origin", "*")
		}
	}
	g.admitByHand(w, r, posternv1.EventService_WatchEvents_FullMethodName, authorization, func(ctx context.Context) error {
		req, err := watchRequest(r)
		if err != nil {
			return err
		}
		if ticketed != nil {
			if err := ticketed.restrict(req); err != nil {
				return err
			}
		}
		if err := g.calls.check(ctx, req); err != nil {
			return err
		}
		out := &sseWriter{w: w, control: http.NewResponseController(w), patience: min(frameTimeout, g.cfg.Limits.StallTimeout)}
		if ticketed != nil {
			out.resume = resumeMark + ticketed.resume
		}
		err = g.events.follow(ctx, req, out.frame)
		if err == nil || !out.begun {
			return err
		}
		if hasEnded(ctx) && errors.Is(err, context.Canceled) {
			out.patience = endedPatience
			return out.failure(tokenEnded())
		}
		if ctx.Err() == nil {
			return out.failure(classify(ctx, err))
		}
		return nil // the client has left
	})
}

// watchRequest reads the query and the header that a browser sends when it
// reconnects, which is newer than the URL.
func watchRequest(r *http.Request) (*posternv1.WatchEventsRequest, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, refuse(codes.InvalidArgument, reasonArgumentInvalid, "The query of the request is malformed.")
	}
	req := &posternv1.WatchEventsRequest{}
	for name, values := range query {
		switch name {
		case "accounts":
			req.Accounts = splitLists(values)
		case "types":
			req.Types = splitLists(values)
		case "cursor":
			req.Cursor = values[0]
		case "ticket":
		default:
			key, ok := labelParameter(name)
			if !ok {
				return nil, refuse(codes.InvalidArgument, reasonArgumentInvalid,
					"There is no parameter %q here; there are: accounts, accountLabels[key], types, cursor, ticket.", said(name))
			}
			if req.AccountLabels == nil {
				req.AccountLabels = make(map[string]string)
			}
			req.AccountLabels[key] = values[0]
		}
	}
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		req.Cursor = last
	}
	// The id of a frame may hold more than the cursor.
	req.Cursor, _, _ = strings.Cut(req.Cursor, resumeMark)
	return req, nil
}

// labelParameter is the key in a parameter such as accountLabels[team].
func labelParameter(name string) (key string, ok bool) {
	for _, prefix := range []string{"accountLabels[", "account_labels["} {
		if key, ok := strings.CutPrefix(name, prefix); ok {
			return strings.CutSuffix(key, "]")
		}
	}
	return "", false
}

// splitLists takes both forms of a list: the parameter repeated, and one
// parameter with commas.
func splitLists(values []string) []string {
	var all []string
	for _, v := range values {
		all = append(all, strings.Split(v, ",")...)
	}
	return slices.DeleteFunc(all, func(s string) bool { return s == "" })
}

// sseWriter writes frames, each flushed at once.
type sseWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	begun   bool
	// patience bounds how long a client may take for one frame.
	patience time.Duration
	// resume is added to the ids of frames.
	resume string
	buf    bytes.Buffer
}

func (s *sseWriter) frame(f watchFrame) error {
	name, data := frameHeartbeat, []byte(nil)
	switch {
	case f.draining:
		name = frameDraining
	case f.entry != nil:
		name, data = string(f.entry.Type), f.entry.Body
	}
	cursor := f.cursor.String()
	if data == nil {
		var err error
		if data, err = json.Marshal(map[string]string{"cursor": cursor}); err != nil {
			return err
		}
	}
	return s.write(cursor, name, data)
}

// failure is the last frame of a watch that fails under way: the error in the
// form that all errors have.
func (s *sseWriter) failure(f *failure) error {
	st := f.GRPCStatus()
	data, err := wireJSON.Marshal(st.Proto())
	if err != nil {
		return err
	}
	return s.write("", frameFailure, data)
}

// write writes one frame. No part of it has a line break: cursors and types
// have none, and the data is JSON without indentation.
func (s *sseWriter) write(id, name string, data []byte) error {
	s.buf.Reset()
	if !s.begun {
		s.begin()
	}
	if id != "" {
		s.buf.WriteString("id: " + id + s.resume + "\n")
	}
	s.buf.WriteString("event: " + name + "\ndata: ")
	s.buf.Write(data)
	s.buf.WriteString("\n\n")
	if err := s.control.SetWriteDeadline(time.Now().Add(s.patience)); err != nil {
		return err
	}
	if _, err := s.w.Write(s.buf.Bytes()); err != nil {
		return clientGone(err)
	}
	if err := s.control.Flush(); err != nil {
		return clientGone(err)
	}
	// Between frames the connection may be quiet for as long as it likes.
	return s.control.SetWriteDeadline(time.Time{})
}

func (s *sseWriter) begin() {
	s.begun = true
	header := s.w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("X-Accel-Buffering", "no") // nginx would hold frames back
	s.buf.WriteString("retry: " + durationMillis(sseRetry) + "\n")
}

func clientGone(err error) error {
	return status.Error(codes.Canceled, "the client does not take the answer: "+err.Error())
}
