package imapconn

import (
	"bufio"
	"compress/flate"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// deflated is the server's end of a connection that is compressed.
type deflated struct {
	net.Conn
	out *flate.Writer
	// wire and plain count what was written, before and after.
	wire, plain *atomic.Int64
}

func newDeflated(conn net.Conn, wire, plain *atomic.Int64) *deflated {
	d := &deflated{Conn: conn, wire: wire, plain: plain}
	d.out, _ = flate.NewWriter(writerFunc(func(p []byte) (int, error) {
		d.wire.Add(int64(len(p)))
		return d.Conn.Write(p)
	}), flate.BestSpeed) // fails for a level that there is not
	return d
}

type writerFunc func(p []byte) (int, error)

func (w writerFunc) Write(p []byte) (int, error) { return w(p) }

func (d *deflated) Write(p []byte) (int, error) {
	d.plain.Add(int64(len(p)))
	n, err := d.out.Write(p)
	if err == nil {
		err = d.out.Flush()
	}
	return n, err
}

// bombing serves a session that is honest up to a command after COMPRESS, and then
// attacks from within the compression.
func bombing(step string, do attack, wire, plain *atomic.Int64) func(net.Conn, *bufio.Reader) {
	return func(conn net.Conn, r *bufio.Reader) {
		fmt.Fprint(conn, "* PREAUTH [CAPABILITY IMAP4rev1 COMPRESS=DEFLATE] hello\r\n")
		line, err := r.ReadString('\n')
		tag, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if err != nil || rest != "COMPRESS DEFLATE" {
			return
		}
		fmt.Fprintf(conn, "%s OK begin\r\n", tag)
		inner := newDeflated(conn, wire, plain)
		serve(inner, bufio.NewReader(flate.NewReader(r)), step, do)
	}
}

// What is small on the wire and large once it is decompressed is bounded as if it had
// come as it is: the connection ends with a typed error and costs little memory.
func TestCompressionBombs(t *testing.T) { //nolint:paralleltest // measures the heap of the process
	const budget = 48 << 20                  // as for what comes uncompressed
	for name, do := range map[string]attack{ //nolint:paralleltest // likewise
		"an endless line":      func(w io.Writer, _ string) { fmt.Fprint(w, "* OK "); repeat(w, "x", 1<<30) },
		"an endless list":      func(w io.Writer, _ string) { fmt.Fprint(w, "* LIST ("); repeat(w, `\a `, 1<<30) },
		"brackets without end": func(w io.Writer, _ string) { fmt.Fprint(w, "* 1 FETCH (BODYSTRUCTURE "); repeat(w, "(", 1<<30) },
		"a literal of 4 GiB": func(w io.Writer, _ string) {
			fmt.Fprint(w, "* 1 FETCH (UID 1 BODY[] {4294967296}\r\n")
			repeat(w, "x", 1<<30)
		},
		"literals that are skipped": func(w io.Writer, _ string) {
			fmt.Fprint(w, "* 1 FETCH (ENVELOPE (")
			repeat(w, "{500000}\r\n"+strings.Repeat("x", 500_000), 64<<20)
			_ = w.(*deflated).Close()
		},
		"a literal too long for memory": func(w io.Writer, _ string) {
			fmt.Fprint(w, "* LIST () \"/\" {1073741824}\r\n")
			repeat(w, "x", 64<<20)
			_ = w.(*deflated).Close()
		},
		"blank lines":         func(w io.Writer, _ string) { repeat(w, "\r\n", 1<<30) },
		"a search of one UID": func(w io.Writer, _ string) { fmt.Fprint(w, "* SEARCH"); repeat(w, " 1 4000000000", 1<<30) },
		"no DEFLATE": func(w io.Writer, _ string) {
			d, _ := w.(*deflated)
			_, _ = d.Conn.Write([]byte(strings.Repeat("\xff\x00", 1000)))
		},
		"a stream that is cut": func(w io.Writer, _ string) {
			d, _ := w.(*deflated)
			_, _ = d.out.Write([]byte("* OK half"))
			_ = d.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			var wire, plain atomic.Int64
			cfg := hostile(t, bombing("FETCH", do, &wire, &plain))
			cfg.Compress = true
			cfg.CommandTimeout = time.Hour // the bounds must end it, not patience
			peak := peakHeap(func() {
				if err := session(t.Context(), cfg); err == nil || !isTyped(err) {
					t.Errorf("error %T %v", err, err)
				}
			})
			if peak > budget {
				t.Errorf("%d KiB of heap", peak>>10)
			}
			t.Logf("%d KiB of the wire were %d KiB, the heap grew by %d KiB", wire.Load()>>10, plain.Load()>>10, peak>>10)
		})
	}
}
