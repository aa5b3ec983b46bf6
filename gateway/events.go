package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/access"
	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/eventlog"
)

// eventService implements EventService, and what server-sent events share with
// it.
type eventService struct {
	posternv1.UnimplementedEventServiceServer
	log      *eventlog.Log
	accounts visibleAccounts
	tickets  ticketBooth
	// draining is closed when the node is about to stop.
	draining <-chan struct{}
}

// anyAccount stands for all accounts that the token may see.
const anyAccount = "-"

// ListEvents implements EventService.
func (s *eventService) ListEvents(ctx context.Context, req *posternv1.ListEventsRequest) (*posternv1.ListEventsResponse, error) {
	filter, err := s.filter(ctx, []string{req.GetParent()}, req.GetTypes(), req.GetAccountLabels())
	if err != nil {
		return nil, err
	}
	after, err := parseCursor("after_cursor", req.GetAfterCursor())
	if err != nil {
		return nil, err
	}
	entries, next, err := s.log.List(ctx, filter, after, pageSize(req.GetPageSize()))
	if err != nil {
		return nil, fmt.Errorf("list events: %w", err)
	}
	resp := &posternv1.ListEventsResponse{Cursor: next.String()}
	for _, e := range entries {
		body, err := eventStruct(e)
		if err != nil {
			return nil, err
		}
		resp.Events = append(resp.Events, &posternv1.Event{Cursor: e.Cursor.String(), Event: body})
	}
	return resp, nil
}

// GetEventCursor implements EventService.
func (s *eventService) GetEventCursor(ctx context.Context, _ *posternv1.GetEventCursorRequest) (*posternv1.GetEventCursorResponse, error) {
	oldest, head, err := s.log.Ends(ctx)
	if err != nil {
		return nil, fmt.Errorf("get event cursor: %w", err)
	}
	return &posternv1.GetEventCursorResponse{Cursor: head.String(), OldestCursor: oldest.String()}, nil
}

// WatchEvents implements EventService.
func (s *eventService) WatchEvents(req *posternv1.WatchEventsRequest, stream grpc.ServerStreamingServer[posternv1.WatchEventsResponse]) error {
	return s.follow(stream.Context(), req, func(f watchFrame) error {
		resp := &posternv1.WatchEventsResponse{Cursor: f.cursor.String(), Draining: f.draining}
		if f.entry != nil {
			body, err := eventStruct(f.entry)
			if err != nil {
				return err
			}
			resp.Event = body
		}
		return stream.Send(resp)
	})
}

// watchFrame is one frame of a watch, before it is put on a wire. Without an
// entry it only moves the cursor.
type watchFrame struct {
	cursor   eventlog.Cursor
	entry    *eventlog.Entry
	draining bool
}

// errDraining ends the watches of a node that is about to stop.
var errDraining = errors.New("the node is about to stop")

// follow sends the frames of a watch until ctx ends, the watcher is too slow,
// send fails, or the node is about to stop, which it says in a last frame.
func (s *eventService) follow(ctx context.Context, req *posternv1.WatchEventsRequest, send func(watchFrame) error) error {
	filter, err := s.filter(ctx, req.GetAccounts(), req.GetTypes(), req.GetAccountLabels())
	if err != nil {
		return err
	}
	after, err := s.start(ctx, req.GetCursor())
	if err != nil {
		return err
	}
	sees := s.accounts.sees(ctx)
	sub, err := s.log.Watch(ctx, filter, after)
	if err != nil {
		return fmt.Errorf("watch events: %w", err)
	}
	defer sub.Close()

	waiting, cancel := context.WithCancelCause(ctx)
	var drain sync.WaitGroup
	defer drain.Wait()
	defer cancel(nil)
	drain.Go(func() {
		select {
		case <-s.draining:
			cancel(errDraining)
		case <-waiting.Done():
		}
	})
	for {
		frame, err := sub.Next(waiting)
		if err != nil {
			if errors.Is(context.Cause(waiting), errDraining) || errors.Is(err, eventlog.ErrClosed) {
				return send(watchFrame{cursor: sub.Cursor(), draining: true})
			}
			return fmt.Errorf("watch events: %w", err)
		}
		if frame.Entry != nil && sees != nil && !sees(frame.Entry) {
			continue // the account was taken from the watcher while the event waited
		}
		if err := send(watchFrame{cursor: frame.Cursor, entry: frame.Entry}); err != nil {
			return err
		}
	}
}

// start is the cursor that a watch begins after: without one, what comes next.
func (s *eventService) start(ctx context.Context, cursor string) (eventlog.Cursor, error) {
	if cursor == "" {
		head, err := s.log.Head(ctx)
		if err != nil {
			return eventlog.Cursor{}, fmt.Errorf("watch events: %w", err)
		}
		return head, nil
	}
	return parseCursor("cursor", cursor)
}

// parseCursor reads the cursor that a field of a request holds.
func parseCursor(field, text string) (eventlog.Cursor, error) {
	cursor, err := eventlog.ParseCursor(text)
	if err != nil {
		return eventlog.Cursor{}, refuseField(field, reasonCursorInvalid,
			"The cursor is not one that Postern gave out: take it from an event, from an answer, or from events:cursor.").because(err)
	}
	return cursor, nil
}

// filter chooses the events of accounts and types. Names of accounts that
// there are not, and types that there are not, are refused: a watch of nothing
// looks just like a quiet one.
func (s *eventService) filter(ctx context.Context, accounts, types []string, labels map[string]string) (eventlog.Filter, error) {
	f := eventlog.Filter{Accounts: s.accounts.ids(ctx), Chooses: s.accounts.sees(ctx)}
	if len(labels) > 0 {
		// It outlives this call, as the labels of accounts change.
		lookup, seen := context.WithoutCancel(ctx), f.Chooses
		f.Chooses = func(e *eventlog.Entry) bool {
			if seen != nil && !seen(e) {
				return false
			}
			a, err := s.accounts.all.Get(lookup, e.Account)
			return err == nil && access.HasLabels(a.Labels, labels)
		}
	}
	var named []string
	for _, name := range accounts {
		id := strings.TrimPrefix(name, "accounts/")
		if id == anyAccount {
			named = nil
			break
		}
		if _, err := s.accounts.Get(ctx, id); err != nil {
			return f, err
		}
		named = append(named, id)
	}
	if len(named) > 0 {
		f.Accounts = named
	}
	for _, text := range types {
		if !slices.Contains(event.Types(), event.Type(text)) {
			return f, refuseField("types", reasonArgumentInvalid, "There is no type of event %q.", said(text))
		}
		f.Types = append(f.Types, event.Type(text))
	}
	return f, nil
}

// eventStruct gives the body of an event as the object that gRPC carries.
func eventStruct(e *eventlog.Entry) (*structpb.Struct, error) {
	body := &structpb.Struct{}
	if err := protojson.Unmarshal(e.Body, body); err != nil {
		return nil, fmt.Errorf("decode event %s: %w", e.ID, err)
	}
	return body, nil
}
