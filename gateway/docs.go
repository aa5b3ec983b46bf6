package gateway

import (
	"embed"
	"io/fs"
	"net/http"
)

//go:embed docs
var docsFiles embed.FS

// docsPolicy lets the reference page load its own files and nothing else.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'"

// docsHandler serves the reference page: a few files of ours that render
// /openapi.json in the browser, without anything from elsewhere.
func docsHandler() http.Handler {
	files, err := fs.Sub(docsFiles, "docs")
	if err != nil {
		// The name is a constant that embed has checked.
		return http.NotFoundHandler()
	}
	server := http.StripPrefix("/docs/", http.FileServerFS(files))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", docsPolicy)
		w.Header().Set("Referrer-Policy", "no-referrer")
		w.Header().Set("Cache-Control", "no-cache")
		if r.URL.Path == "/docs" {
			http.ServeFileFS(w, r, files, "index.html")
			return
		}
		server.ServeHTTP(w, r)
	})
}
