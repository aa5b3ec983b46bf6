package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/postern-mail/postern/internal/secret"
)

// maxAnswer bounds an answer and a frame that the demo reads.
const maxAnswer = 4 << 20

// apiClient calls the REST API as any program does.
type apiClient struct {
	base  string // such as http://127.0.0.1:8080
	token secret.String
	http  *http.Client
}

// call sends a request and gives its answer. An answer that is an error becomes
// one, with the message that the API has for people.
func (c *apiClient) call(ctx context.Context, method, path string, body any) ([]byte, error) {
	var content bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&content).Encode(body); err != nil {
			return nil, err
		}
	}
	resp, err := c.send(ctx, method, path, &content)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	return answer, nil
}

// send sends a request and makes an error of an answer that is not 200.
func (c *apiClient) send(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.token.Reveal())
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	var failure struct {
		Message string `json:"message"`
	}
	content, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err == nil {
		err = json.Unmarshal(content, &failure)
	}
	if err != nil {
		failure.Message = "and no message"
	}
	return nil, fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, failure.Message)
}

// watch opens the stream of events. It is open, and misses nothing from then
// on, once its first frame has been read.
func (c *apiClient) watch(ctx context.Context, path string) (*eventStream, error) {
	resp, err := c.send(ctx, http.MethodGet, path, nil) //nolint:bodyclose // the stream closes it
	if err != nil {
		return nil, err
	}
	stream := &eventStream{body: resp.Body, lines: bufio.NewScanner(resp.Body)}
	stream.lines.Buffer(nil, maxAnswer)
	if _, err := stream.next(); err != nil {
		stream.close()
		return nil, err
	}
	return stream, nil
}

// eventStream reads server-sent events (HTML, section 9.2.6).
type eventStream struct {
	body  io.ReadCloser
	lines *bufio.Scanner
}

// sseFrame is one server-sent event.
type sseFrame struct {
	id, event string
	data      []byte
}

// next waits for the next frame. What the server ends its stream with is an
// error, too.
func (s *eventStream) next() (sseFrame, error) {
	var frame sseFrame
	for s.lines.Scan() {
		name, value, _ := strings.Cut(s.lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "id":
			frame.id = value
		case "event":
			frame.event = value
		case "data":
			frame.data = append(frame.data, value...)
		case "": // the end of a frame, unless a comment made it
			if s.lines.Text() == "" && frame.event != "" {
				return frame, nil
			}
		}
	}
	if err := s.lines.Err(); err != nil {
		return sseFrame{}, fmt.Errorf("read the events: %w", err)
	}
	return sseFrame{}, errors.New("read the events: the stream has ended")
}

// await gives the next event of a type.
func (s *eventStream) await(eventType string) (sseFrame, error) {
	for {
		frame, err := s.next()
		if err != nil || frame.event == eventType {
			return frame, err
		}
	}
}

func (s *eventStream) close() { _ = s.body.Close() }
