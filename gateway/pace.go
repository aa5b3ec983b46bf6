package gateway

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/postern-mail/postern/internal/access"
)

// pace cuts off streams of gRPC whose client does not go on: it takes nothing of
// what it is sent, or does not send what it began. Over HTTP the deadlines of the
// connection do that.
type pace struct {
	limits *Limits
	cut    chan error
}

func newPace(limits *Limits) *pace { return &pace{limits: limits, cut: make(chan error, 1)} }

// send runs a step that ends once the client has taken something.
func (p *pace) send(step func() error) error {
	return p.within(p.limits.StallTimeout, "taken nothing of the answer", step)
}

// receive runs a step that ends once the client has sent something.
func (p *pace) receive(step func() error) error {
	return p.within(p.limits.BodyTimeout, "sent nothing more", step)
}

func (p *pace) within(limit time.Duration, what string, step func() error) error {
	timer := time.AfterFunc(limit, func() {
		select {
		case p.cut <- refuse(codes.DeadlineExceeded, reasonDeadlineExceeded, "The client has %s for %s.", what, limit):
		default:
		}
	})
	defer timer.Stop()
	return step()
}

// run runs the handler of a stream until it is cut off, or its caller may no longer
// call. A handler that waits for its client, to receive or to send, learns nothing of
// that; the return of the interceptor sets it free.
func (p *pace) run(ctx context.Context, handle func() error) error {
	type outcome struct {
		err   error
		crash any
	}
	done := make(chan outcome, 1)
	go func() {
		var o outcome
		defer func() {
			if crash := recover(); crash != nil {
				o.crash = fmt.Sprintf("%v\n%s", crash, debug.Stack())
			}
			done <- o
		}()
		o.err = handle()
	}()
	select {
	case o := <-done:
		if o.crash != nil {
			panic(o.crash)
		}
		return o.err
	case err := <-p.cut:
		return err
	case <-access.From(ctx).Ended:
		return tokenEnded()
	}
}
