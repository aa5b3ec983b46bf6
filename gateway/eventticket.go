package gateway

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/timestamppb"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
)

const (
	// ticketLife is how long a ticket is good to connect with: it stands in a
	// URL, which may be written down on its way.
	ticketLife = time.Minute
	// resumeLife is how long who has connected with one may come back.
	resumeLife  = 24 * time.Hour
	ticketPlace = "event-ticket"
	resumePlace = "event-resume"
	// resumeMark parts a cursor from the permission to come back in the id of a
	// frame. No cursor has it.
	resumeMark = "~"
)

// ticket lets its holder watch events and nothing else. It holds the API token, or
// else the client certificate, that it was made with, sealed, so that a token that
// was revoked or may see less than before counts for its tickets too.
type ticket struct {
	Token       string   `json:"t,omitempty"`
	Certificate []byte   `json:"c,omitempty"`
	Expires     int64    `json:"e"` // Unix seconds
	Accounts    []string `json:"a,omitempty"`
	Types       []string `json:"y,omitempty"`
}

// shown gives what the ticket was made with as if the request had come with it.
func (t ticket) shown(r *http.Request) (_ *http.Request, authorization []string, err error) {
	if len(t.Certificate) == 0 {
		return r, []string{"Bearer " + t.Token}, nil
	}
	certificate, err := x509.ParseCertificate(t.Certificate)
	if err != nil {
		return r, nil, err
	}
	return r.WithContext(withCertificate(r.Context(), certificate)), nil, nil
}

// ticketBooth makes and reads tickets. Nodes that share a box take each other's.
type ticketBooth struct{ box sealer }

func (b ticketBooth) seal(t ticket, place string) (string, error) {
	plain, err := json.Marshal(t)
	if err != nil {
		return "", err
	}
	sealed, err := b.box.Seal(plain, []byte(place))
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(sealed), nil
}

func (b ticketBooth) open(text, place string) (ticket, bool) {
	var t ticket
	sealed, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return t, false
	}
	plain, err := b.box.Open(sealed, []byte(place))
	if err != nil || json.Unmarshal(plain, &t) != nil {
		return t, false
	}
	return t, time.Now().Unix() < t.Expires
}

// CreateEventTicket implements EventService.
func (s *eventService) CreateEventTicket(ctx context.Context, req *posternv1.CreateEventTicketRequest) (*posternv1.EventTicket, error) {
	if _, err := s.filter(ctx, req.GetAccounts(), req.GetTypes(), nil); err != nil {
		return nil, err
	}
	md, _ := metadata.FromIncomingContext(ctx)
	_, token, _ := strings.Cut(strings.Join(md.Get(headerAuthorization), ""), " ")
	expires := time.Now().Add(ticketLife)
	made := ticket{Token: strings.TrimSpace(token), Expires: expires.Unix(), Accounts: req.GetAccounts(), Types: req.GetTypes()}
	if certificate := certificateOf(ctx); made.Token == "" && certificate != nil {
		made.Certificate = certificate.Raw
	}
	text, err := s.tickets.seal(made, ticketPlace)
	if err != nil {
		return nil, err
	}
	return &posternv1.EventTicket{Ticket: text, ExpireTime: timestamppb.New(expires.Truncate(time.Second))}, nil
}

// visit is a watch by ticket: what the ticket allows, and the permission to come
// back, which goes out with each frame.
type visit struct {
	ticket
	resume string
}

// visitOf reads the ticket of a request, nil when it has none. A browser that
// reconnects sends the id of the last frame that it got, and with it the
// permission that was in there; its ticket may have expired by then.
func (b ticketBooth) visitOf(r *http.Request, given string) (*visit, error) {
	if given == "" || len(r.Header.Values("Authorization")) > 0 {
		return nil, nil
	}
	_, resume, back := strings.Cut(r.Header.Get("Last-Event-ID"), resumeMark)
	t, ok := b.open(resume, resumePlace)
	if !back || !ok {
		if t, ok = b.open(given, ticketPlace); !ok {
			return nil, refuse(codes.Unauthenticated, reasonTokenInvalid,
				"The ticket is not valid, or was not used within %s: make a new one with POST /v1/events:ticket.", ticketLife)
		}
	}
	v := &visit{ticket: t}
	t.Expires = time.Now().Add(resumeLife).Unix()
	var err error
	v.resume, err = b.seal(t, resumePlace)
	return v, err
}

// restrict holds a request to what the ticket allows.
func (v *visit) restrict(req *posternv1.WatchEventsRequest) error {
	for _, one := range []struct {
		asked   *[]string
		allowed []string
		what    string
	}{{&req.Accounts, v.Accounts, "accounts"}, {&req.Types, v.Types, "types"}} {
		switch {
		case len(one.allowed) == 0:
		case len(*one.asked) == 0:
			*one.asked = one.allowed
		case slices.ContainsFunc(*one.asked, func(s string) bool { return !slices.Contains(one.allowed, s) }):
			return refuse(codes.PermissionDenied, reasonScopeMissing, "The ticket is for other %s.", one.what)
		}
	}
	return nil
}
