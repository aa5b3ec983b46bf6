package smtpconn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/postern-mail/postern/internal/imapconn"
)

// Message is a message to hand over, with its envelope.
type Message struct {
	// From is the return address; empty means none (RFC 5321 section 4.5.5).
	From string
	// Recipients are whom it is for. Addresses are in the form in which they go
	// on the wire: the domain in ASCII.
	Recipients []Recipient
	// Body is the message, in lines that end in CRLF, read once.
	Body io.Reader
	// Size is the number of bytes of Body, 0 if unknown.
	Size int64
	// UTF8 says that an address or a header is not ASCII (RFC 6531), EightBit
	// that a body is not (RFC 6152).
	UTF8, EightBit bool
	// EnvelopeID and Return are for delivery status notifications (RFC 3461).
	// They are left out where the server has no DSN.
	EnvelopeID string
	Return     smtp.DSNReturn
	// BeforeEnd, where it is given, is called when all of the message is sent but
	// its end, the last moment at which the server is sure not to have accepted
	// it. When it fails, the connection is closed and the message is not sent.
	BeforeEnd func(ctx context.Context) error
}

// Recipient is one recipient of a message.
type Recipient struct {
	Address string
	// Notify says when a delivery status notification is wanted.
	Notify []smtp.DSNNotify
}

// Receipt is what became of a message.
type Receipt struct {
	// Recipients are the replies, in the order of the recipients. A recipient
	// was accepted if its code is 250, and then the message is on its way to it
	// if Accepted is set.
	Recipients []Reply
	// Accepted says that the server took the message over. It is false where
	// all recipients were refused.
	Accepted bool
	// Final is the reply to the end of the message, whose text often has the
	// server's own number for it.
	Final Reply
}

// Refused reports whether a recipient was refused.
func (r Reply) Refused() bool { return r.Code >= 400 }

// Send hands a message over. It returns a receipt once the server has said of each
// recipient whether it takes it: without an error even if it refused all, and with
// one if the message failed thereafter. It fails with
//
//   - a [*TooLargeError] or [*ExtensionError] if the server cannot take the message;
//     nothing was sent,
//   - a [*RefusedError] if the server refuses the message as a whole; the connection
//     stays usable unless the code is 421,
//   - a [*StaleError] if the connection, which had served before, was found to be gone
//     before anything was sent,
//   - an [*UncertainError] if the connection broke when the server may have accepted
//     the message,
//   - the errors of Dial, or that of Body or BeforeEnd, in which cases the server did
//     not accept it. The connection is closed then.
func (c *Conn) Send(ctx context.Context, m *Message) (*Receipt, error) {
	if err := c.check(m); err != nil {
		return nil, err
	}
	if err := c.do(ctx, "MAIL", func() error { return c.mail(m) }); err != nil {
		if c.reused && c.broken != nil && ctx.Err() == nil {
			err = &StaleError{Err: err}
		}
		return nil, err
	}
	c.transaction = true
	receipt := &Receipt{Recipients: make([]Reply, len(m.Recipients))}
	accepted := 0
	for i := range m.Recipients {
		reply, err := c.recipient(ctx, &m.Recipients[i])
		if err != nil {
			return nil, err
		}
		receipt.Recipients[i] = reply
		if !reply.Refused() {
			accepted++
		}
	}
	if accepted == 0 {
		// Whatever becomes of it, the answer about the recipients stands.
		_ = c.Reset(ctx)
		return receipt, nil
	}
	var err error
	receipt.Final, err = c.data(ctx, m)
	receipt.Accepted = err == nil
	return receipt, err
}

// check compares a message with what the server can take.
func (c *Conn) check(m *Message) error {
	if limit, ok := c.MaxSize(); ok && m.Size > limit {
		return &TooLargeError{Limit: limit, Actual: m.Size}
	}
	if _, ok := c.Extension("SMTPUTF8"); m.UTF8 && !ok {
		return &ExtensionError{Extension: "SMTPUTF8", Why: "an address is not ASCII"}
	}
	if _, ok := c.Extension("8BITMIME"); m.EightBit && !ok {
		return &ExtensionError{Extension: "8BITMIME", Why: "the message has bytes that are not ASCII"}
	}
	return nil
}

// MaxSize is how large a message the server takes (RFC 1870), false if it does not
// say.
func (c *Conn) MaxSize() (limit int64, ok bool) {
	params, _ := c.Extension("SIZE")
	limit, err := strconv.ParseInt(params, 10, 64)
	return limit, err == nil && limit > 0
}

func (c *Conn) mail(m *Message) error {
	return c.client.Mail(m.From, &smtp.MailOptions{
		Size: m.Size, UTF8: m.UTF8, EnvelopeID: m.EnvelopeID, Return: m.Return,
	})
}

// recipient names a recipient. The error is one of the connection.
func (c *Conn) recipient(ctx context.Context, r *Recipient) (Reply, error) {
	err := c.do(ctx, "RCPT", func() error {
		return c.client.Rcpt(r.Address, &smtp.RcptOptions{Notify: r.Notify})
	})
	var refusal *RefusedError
	switch {
	case err == nil:
		return Reply{Code: 250}, nil
	case errors.As(err, &refusal) && c.broken == nil:
		return refusal.Reply, nil
	}
	return Reply{}, err
}

// data sends the message proper.
func (c *Conn) data(ctx context.Context, m *Message) (Reply, error) {
	var data *smtp.DataCommand
	err := c.do(ctx, "DATA", func() (err error) {
		data, err = c.client.Data()
		return err
	})
	if err != nil {
		return Reply{}, err
	}
	leave := c.enter(ctx)
	defer leave()
	if err := c.copy(ctx, data, m); err != nil {
		return Reply{}, err
	}
	response, err := data.CloseWithResponse()
	c.transaction = false
	if err == nil {
		c.used = time.Now()
		return accepted(response.StatusText), nil
	}
	err = c.fail(ctx, "the end of DATA", err)
	var refusal *RefusedError
	if errors.As(err, &refusal) {
		return Reply{}, err
	}
	return Reply{}, &UncertainError{Err: err}
}

// copy sends all of the message but its end.
func (c *Conn) copy(ctx context.Context, data io.Writer, m *Message) error {
	source := &sourceReader{Reader: m.Body}
	if _, err := io.Copy(data, source); err != nil {
		if source.err != nil {
			err = fmt.Errorf("read the message: %w", source.err)
			c.abandon(err)
			return err
		}
		return c.fail(ctx, "DATA", err)
	}
	if m.BeforeEnd == nil {
		return nil
	}
	if err := m.BeforeEnd(ctx); err != nil {
		c.abandon(err)
		return err
	}
	if ctx.Err() != nil { // it has closed the connection, and nothing was accepted
		return c.fail(ctx, "DATA", ctx.Err())
	}
	return nil
}

// abandon closes the connection in the midst of a message. Without its end the
// server must not deliver it (RFC 5321 section 4.1.1.4).
func (c *Conn) abandon(err error) {
	c.broken = &imapconn.ClosedError{Err: err}
	_ = c.raw.Close()
}

// sourceReader tells errors of the message's source from those of the server.
type sourceReader struct {
	io.Reader
	err error
}

func (r *sourceReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}
