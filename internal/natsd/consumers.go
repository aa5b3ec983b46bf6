package natsd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

const (
	// createTimeout bounds one request of a reader for a consumer.
	createTimeout = 10 * time.Second
	// maxCreateRequest is far more than such a request needs.
	maxCreateRequest = 64 << 10

	// Codes of the API's errors, as the server itself gives them.
	codeInvalidRequest = 10025
	codeNoPush         = 10112
)

// answerReaders answers what readers ask for by CONSUMER.CREATE: it passes on to
// the copy of the log what makes a consumer that is pulled from. It does so for as
// long as the server runs.
func answerReaders(srv *server.Server, login credentials, stream string) error {
	conn, err := connectOnce(srv, login)
	if err != nil {
		return fmt.Errorf("answer readers: %w", err)
	}
	for _, request := range readerRequests(stream) {
		if !strings.HasPrefix(request.there, createPrefix) {
			continue
		}
		if _, err := conn.Subscribe(request.there, func(msg *nats.Msg) { answerCreate(conn, msg) }); err != nil {
			conn.Close()
			return fmt.Errorf("answer readers: %w", err)
		}
	}
	if err := conn.Flush(); err != nil {
		conn.Close()
		return fmt.Errorf("answer readers: %w", err)
	}
	return nil
}

// connectOnce connects to one NATS server within the process. The connection ends
// with the server.
func connectOnce(srv *server.Server, login credentials) (*nats.Conn, error) {
	return nats.Connect("",
		nats.Timeout(connectTimeout),
		nats.InProcessServer(srv),
		nats.UserInfo(login.user, login.password.Reveal()),
		nats.Name("postern"),
		nats.NoReconnect(),
	)
}

// answerCreate answers one request. Whoever sent it may be gone.
func answerCreate(conn *nats.Conn, msg *nats.Msg) {
	request, refusal := pullOnly(msg.Data)
	if refusal != nil {
		_ = msg.Respond(refuse(refusal))
		return
	}
	forward := nats.NewMsg("$JS.API" + strings.TrimPrefix(msg.Subject, createPrefix))
	forward.Data = request
	if level := msg.Header.Get(server.JSRequiredApiLevel); level != "" {
		forward.Header.Set(server.JSRequiredApiLevel, level)
	}
	if reply, err := conn.RequestMsg(forward, createTimeout); err == nil {
		_ = msg.Respond(reply.Data)
	}
}

// pullOnly gives a request for a consumer in the form that was understood, or
// says why it is refused: the server is never given another form than was looked at.
func pullOnly(data []byte) (request []byte, refusal *server.ApiError) {
	invalid := func(err error) *server.ApiError {
		return &server.ApiError{Code: 400, ErrCode: codeInvalidRequest, Description: fmt.Sprintf("invalid request: %v", err)}
	}
	if len(data) > maxCreateRequest {
		return nil, invalid(fmt.Errorf("%d bytes, the limit is %d", len(data), maxCreateRequest))
	}
	var create server.CreateConsumerRequest
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&create); err != nil {
		return nil, invalid(err)
	}
	config := &create.Config
	if config.DeliverSubject != "" || config.DeliverGroup != "" || config.FlowControl || config.Heartbeat != 0 {
		return nil, &server.ApiError{Code: 403, ErrCode: codeNoPush, Description: "these credentials are for pull consumers: give no deliver subject"}
	}
	if config.Direct || config.Sourcing {
		return nil, invalid(fmt.Errorf("direct and sourcing are for servers"))
	}
	request, err := json.Marshal(create)
	if err != nil {
		return nil, invalid(err)
	}
	return request, nil
}

// refuse is the answer to a request that is not passed on.
func refuse(refusal *server.ApiError) []byte {
	answer, err := json.Marshal(server.JSApiConsumerCreateResponse{
		ApiResponse: server.ApiResponse{Type: server.JSApiConsumerCreateResponseType, Error: refusal},
	})
	if err != nil {
		return nil
	}
	return answer
}
