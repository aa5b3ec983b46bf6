package gateway

import (
	"context"
	"io"
	"net/http"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/postern-mail/postern/gen/openapi"
)

// readyTimeout bounds the look at what the gateway stands on, so that a probe
// is answered before its sender gives up.
const readyTimeout = 3 * time.Second

// handler builds everything that the HTTP listener serves.
func (g *Gateway) handler(ctx context.Context, conn grpc.ClientConnInterface) (http.Handler, error) {
	rest, err := newMux(ctx, conn)
	if err != nil {
		return nil, err
	}
	if err := g.handRoutes(rest); err != nil {
		return nil, err
	}
	docs := docsHandler()
	mux := http.NewServeMux()
	mux.Handle("/", headAsGet(rest))
	mux.HandleFunc("/healthz", readOnly(func(w http.ResponseWriter, _ *http.Request) { sayOK(w) }))
	mux.HandleFunc("/readyz", readOnly(g.readyz))
	mux.HandleFunc("/openapi.json", readOnly(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, openapi.Document)
	}))
	mux.HandleFunc("/docs", readOnly(docs.ServeHTTP))
	mux.HandleFunc("/docs/", readOnly(docs.ServeHTTP))
	mux.HandleFunc(unsubscribePath, g.unsubscribe)
	mux.HandleFunc("/{$}", readOnly(http.RedirectHandler("/docs", http.StatusFound).ServeHTTP))
	return &front{next: mux, log: g.cfg.Log, limits: g.cfg.Limits, entrance: g.entrance}, nil
}

// readOnly refuses methods that change something, in the form of all errors.
func readOnly(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			routingError(r.Context(), nil, nil, w, r, http.StatusMethodNotAllowed)
			return
		}
		next(w, r)
	}
}

func sayOK(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, "ok\n")
}

// readyz answers 200 while calls are served and what they need is there.
func (g *Gateway) readyz(w http.ResponseWriter, r *http.Request) {
	if !g.serving.Load() {
		writeError(w, r, refuse(codes.Unavailable, reasonUnavailable, "The node is starting or stopping."))
		return
	}
	if g.cfg.Ready != nil {
		ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
		defer cancel()
		if err := g.cfg.Ready(ctx); err != nil {
			writeError(w, r, refuse(codes.Unavailable, reasonStoreUnavailable, "The node is not ready: %v", err))
			return
		}
	}
	sayOK(w)
}
