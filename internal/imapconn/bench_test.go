package imapconn

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/dovecottest"
)

// BenchmarkRatioIdleMemory compares what a waiting connection costs with what a
// bare TLS connection costs that a goroutine is blocked on.
func BenchmarkRatioIdleMemory(b *testing.B) {
	const n = 500
	_, secure := benchServer(b)
	for b.Loop() {
		bare, bareRSS := perConn(b, n, func(ctx context.Context, wg *sync.WaitGroup) { idleBare(ctx, b, wg, secure) })
		ours, oursRSS := perConn(b, n, func(ctx context.Context, wg *sync.WaitGroup) { idleOurs(ctx, b, wg, secure) })
		b.ReportMetric(bare, "bare-heap+stack-B")
		b.ReportMetric(ours, "ours-heap+stack-B")
		b.ReportMetric(ours/bare, "ratio")
		b.ReportMetric(bareRSS, "bare-RSS-B")
		b.ReportMetric(oursRSS, "ours-RSS-B")
	}
}

// perConn opens n connections and returns what each costs at rest: of the heap
// and the stacks in use, and of resident memory.
func perConn(b *testing.B, n int, open func(context.Context, *sync.WaitGroup)) (inUse, rss float64) {
	ctx, cancel := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	before, beforeRSS := memory()
	for range n {
		open(ctx, &wg)
	}
	after, afterRSS := memory()
	cancel()
	wg.Wait()
	return (float64(after) - float64(before)) / float64(n), (float64(afterRSS) - float64(beforeRSS)) / float64(n)
}

func memory() (inUse, rss uint64) {
	for range 6 { // stacks shrink by half in each collection, pools empty in two
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	var pages, resident uint64
	if data, err := os.ReadFile("/proc/self/statm"); err == nil {
		_, _ = fmt.Sscan(string(data), &pages, &resident)
	}
	return m.HeapAlloc + m.StackInuse, resident * uint64(os.Getpagesize())
}

func idleBare(ctx context.Context, b *testing.B, wg *sync.WaitGroup, cfg Config) {
	conn, err := tls.Dial("tcp", cfg.Address(), cfg.TLS)
	if err != nil {
		b.Fatal(err)
	}
	var greeting [256]byte
	if _, err := conn.Read(greeting[:]); err != nil {
		b.Fatal(err)
	}
	context.AfterFunc(ctx, func() { conn.Close() })
	wg.Go(func() {
		var one [1]byte
		_, _ = conn.Read(one[:])
	})
}

func idleOurs(ctx context.Context, b *testing.B, wg *sync.WaitGroup, cfg Config) {
	c, err := Dial(ctx, cfg)
	if err != nil {
		b.Fatal(err)
	}
	selectInbox(b, c)
	if _, err := c.Idle(ctx, time.Microsecond); err != nil {
		b.Fatal(err)
	}
	wg.Go(func() {
		defer c.Close()
		_, _ = c.Idle(ctx, time.Hour)
	})
}

const pageItems = "(UID FLAGS INTERNALDATE RFC822.SIZE MODSEQ ENVELOPE BODYSTRUCTURE)"

// BenchmarkRatioWarmPage compares a page of 20 on a warm connection with the
// same FETCH on a raw socket whose answer is only read.
func BenchmarkRatioWarmPage(b *testing.B) {
	srv := dovecottest.Shared(b)
	username, password := srv.User(b)
	for i := range 60 {
		srv.Deliver(b, username, "INBOX", sampleMail()[i%12])
	}
	c := dialConfig(b, dovecotConfig(srv, username, ModePlaintext))
	selectInbox(b, c)
	raw := dialRaw(b, srv.Addr(), username, password)
	opts := &PageOptions{Size: 20, Fetch: plain(imap.FetchOptions{
		Flags: true, InternalDate: true, RFC822Size: true, ModSeq: true, Envelope: true,
		BodyStructure: &imap.FetchItemBodyStructure{Extended: true},
	})}
	page := func() {
		p, err := c.Page(b.Context(), opts)
		if err != nil || len(p.Messages) != 20 {
			b.Fatalf("page %+v, %v", p, err)
		}
	}
	fetch := func() { raw.command("UID FETCH 41:* " + pageItems) }
	page()
	fetch()
	var ours, floor []time.Duration
	for b.Loop() {
		// Each goes first as often as the other, which finds the server's data
		// in the processor's caches.
		if len(ours)%2 == 0 {
			ours = append(ours, took(page))
			floor = append(floor, took(fetch))
		} else {
			floor = append(floor, took(fetch))
			ours = append(ours, took(page))
		}
	}
	b.ReportMetric(median(ours), "ours-µs")
	b.ReportMetric(median(floor), "raw-µs")
	b.ReportMetric(median(ours)/median(floor), "ratio")
}

func took(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}

// median returns the median in microseconds.
func median(times []time.Duration) float64 {
	slices.Sort(times)
	return float64(times[len(times)/2]) / 1e3
}

// rawConn is a socket that knows no more of IMAP than where an answer ends.
type rawConn struct {
	b    *testing.B
	conn net.Conn
	r    *bufio.Reader
	n    int
}

func dialRaw(b *testing.B, addr, username, password string) *rawConn {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	raw := &rawConn{b: b, conn: conn, r: bufio.NewReaderSize(conn, 64<<10)}
	raw.command("LOGIN " + username + " " + password)
	raw.command("SELECT INBOX")
	return raw
}

func (raw *rawConn) command(text string) {
	raw.n++
	tag := fmt.Sprintf("R%d", raw.n)
	if _, err := fmt.Fprintf(raw.conn, "%s %s\r\n", tag, text); err != nil {
		raw.b.Fatal(err)
	}
	for {
		line, err := raw.r.ReadSlice('\n')
		if err != nil && err != bufio.ErrBufferFull {
			raw.b.Fatal(err)
		}
		if strings.HasPrefix(string(line[:min(len(line), 12)]), tag+" ") {
			return
		}
	}
}

// BenchmarkRatioDownload compares the streaming of a body of 100 MiB with
// reading as many bytes from a socket.
func BenchmarkRatioDownload(b *testing.B) {
	inClear, secure := benchServer(b)
	for name, cfg := range map[string]Config{"plain": inClear, "TLS": secure} {
		b.Run(name, func(b *testing.B) {
			c := dialConfig(b, cfg)
			selectInbox(b, c)
			raw := dialBench(b, cfg)
			buf := make([]byte, 64<<10)
			opts := plain(imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{{Peek: true}}})
			opts.Body = func(_ *FetchMessage, s *BodySection) error {
				n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, s.Literal, buf)
				if err == nil && n != benchBody {
					err = io.ErrUnexpectedEOF
				}
				return err
			}
			var ours, floor time.Duration
			for b.Loop() {
				start := time.Now()
				if err := c.Fetch(b.Context(), imap.UIDSetNum(1), opts, func(*FetchMessage) error { return nil }); err != nil {
					b.Fatal(err)
				}
				middle := time.Now()
				if _, err := io.WriteString(raw, "R UID FETCH 1 (UID BODY.PEEK[])\r\n"); err != nil {
					b.Fatal(err)
				}
				if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, io.LimitReader(raw, benchBody), buf); err != nil {
					b.Fatal(err)
				}
				floor += time.Since(middle)
				ours += middle.Sub(start)
				drain(b, raw)
			}
			b.ReportMetric(float64(floor)/float64(ours), "throughput-ratio")
			b.ReportMetric(float64(benchBody)*float64(b.N)/ours.Seconds()/1e6, "ours-MB/s")
		})
	}
}

func dialBench(b *testing.B, cfg Config) net.Conn {
	var conn net.Conn
	var err error
	if cfg.TLSMode == ModeTLS {
		conn, err = tls.Dial("tcp", cfg.Address(), cfg.TLS)
	} else {
		conn, err = net.Dial("tcp", cfg.Address())
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	if _, err := conn.Read(make([]byte, 1024)); err != nil { // the greeting
		b.Fatal(err)
	}
	return conn
}

// drain reads what is left of an answer.
func drain(b *testing.B, conn net.Conn) {
	var tail []byte
	buf := make([]byte, 1024)
	for !strings.HasSuffix(string(tail), "R OK done\r\n") {
		n, err := conn.Read(buf)
		if err != nil {
			b.Fatal(err)
		}
		tail = append(tail, buf[:n]...)
	}
}
