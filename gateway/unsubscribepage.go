package gateway

import (
	"errors"
	"html/template"
	"net/http"
	"strings"

	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/submit"
)

const (
	// maxUnsubscribe bounds the body of the request, which holds one small field.
	maxUnsubscribe = 8 << 10
	// unsubscribePolicy lets the page do nothing but send its form.
	unsubscribePolicy = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)

// unsubscribePage is what people see. It names the sender and not who unsubscribes,
// since mail is forwarded.
var unsubscribePage = template.Must(template.New("page").Parse(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><meta name="robots" content="noindex">
<title>Unsubscribe</title><style>body{font:1.1rem/1.5 system-ui,sans-serif;max-width:32rem;margin:4rem auto;padding:0 1rem}button{font:inherit;padding:.4rem 1.2rem}</style></head>
<body><p>{{.Text}}</p>{{if .Ask}}<form method="post"><input type="hidden" name="List-Unsubscribe" value="One-Click"><button>Unsubscribe</button></form>{{end}}</body></html>
`))

type unsubscribeView struct {
	Text string
	// Ask shows the button.
	Ask bool
}

func showUnsubscribe(w http.ResponseWriter, status int, view unsubscribeView) {
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Security-Policy", unsubscribePolicy)
	header.Set("Referrer-Policy", "no-referrer") // the address of the page is a secret
	w.WriteHeader(status)
	_ = unsubscribePage.Execute(w, view) // whoever has left sees nothing
}

// unsubscribe serves the page behind the links of List-Unsubscribe, to whoever has
// one. A GET changes nothing, because programs follow links; the POST is that of RFC
// 8058 section 3.2, by a mail program or the page's own button, and puts the address on
// the account's blocklist.
func (g *Gateway) unsubscribe(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	who, err := g.submissions.unsubscriber.open(strings.TrimPrefix(r.URL.Path, unsubscribePath))
	if err != nil {
		showUnsubscribe(w, http.StatusNotFound, unsubscribeView{Text: "This link is not complete. Please copy the whole of it from the message."})
		return
	}
	from, err := g.cfg.Accounts.Get(ctx, who.Account)
	switch {
	case errors.Is(err, account.ErrNotFound):
		showUnsubscribe(w, http.StatusGone, unsubscribeView{Text: "The sender of this message sends no more mail."})
		return
	case err != nil:
		g.cannotUnsubscribe(w, r, who, err)
		return
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		showUnsubscribe(w, http.StatusOK, unsubscribeView{Text: "Do you want to get no more mail from " + from.Email + "?", Ask: true})
		return
	case http.MethodPost:
	default:
		w.Header().Set("Allow", "GET, HEAD, POST")
		showUnsubscribe(w, http.StatusMethodNotAllowed, unsubscribeView{Text: "This page takes GET and POST."})
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxUnsubscribe)
	// RFC 8058 section 3.2: the form comes in either of two encodings.
	if err := r.ParseMultipartForm(maxUnsubscribe); err != nil && !errors.Is(err, http.ErrNotMultipart) ||
		r.PostFormValue(headerUnsubscribe) != oneClick {
		showUnsubscribe(w, http.StatusBadRequest, unsubscribeView{Text: "Please press the button to unsubscribe.", Ask: true})
		return
	}
	id, err := submit.BlockID(who.Address)
	if err == nil {
		_, err = g.cfg.Submissions.CreateBlock(ctx, submit.Block{
			ID: id, Account: who.Account, Address: who.Address, Reason: "unsubscribed", Unsubscribed: true,
		})
	}
	if err != nil {
		g.cannotUnsubscribe(w, r, who, err)
		return
	}
	g.cfg.Log.InfoContext(ctx, "somebody unsubscribed", "account", who.Account, "block", id, "request_id", requestID(ctx))
	showUnsubscribe(w, http.StatusOK, unsubscribeView{Text: "Done. You get no more mail from " + from.Email + "."})
}

// cannotUnsubscribe asks people, and mail programs by the status, to come again.
func (g *Gateway) cannotUnsubscribe(w http.ResponseWriter, r *http.Request, who unsubscription, err error) {
	g.cfg.Log.WarnContext(r.Context(), "somebody could not unsubscribe", "account", who.Account, "error", err, "request_id", requestID(r.Context()))
	showUnsubscribe(w, http.StatusServiceUnavailable, unsubscribeView{Text: "That did not work just now. Please try again in a minute.", Ask: true})
}
