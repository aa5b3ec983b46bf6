package gateway_test

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/dovecottest"
)

// rawIMAP is a socket that knows no more of IMAP than where an answer ends: the
// floor under everything that the gateway does.
type rawIMAP struct {
	b    *testing.B
	conn net.Conn
	r    *bufio.Reader
	n    int
}

func dialRaw(b *testing.B, addr, username, password string) *rawIMAP {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	raw := &rawIMAP{b: b, conn: conn, r: bufio.NewReaderSize(conn, 128<<10)}
	raw.command("LOGIN " + username + " " + password)
	raw.command("EXAMINE INBOX")
	return raw
}

func (raw *rawIMAP) send(text string) (tag string) {
	raw.n++
	tag = fmt.Sprintf("R%d", raw.n)
	if _, err := fmt.Fprintf(raw.conn, "%s %s\r\n", tag, text); err != nil {
		raw.b.Fatal(err)
	}
	return tag
}

// command sends a command and reads its answer.
func (raw *rawIMAP) command(text string) { raw.finish(raw.send(text)) }

func (raw *rawIMAP) finish(tag string) {
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

// decode fetches a part and decodes its base64, as little as a download can do.
func (raw *rawIMAP) decode(part string) (n int64) {
	tag := raw.send("UID FETCH 1 (UID BODY.PEEK[" + part + "])")
	line, err := raw.r.ReadString('\n')
	if err != nil {
		raw.b.Fatal(err)
	}
	_, size, _ := strings.Cut(strings.TrimRight(line, "\r\n}"), "{")
	length, err := strconv.ParseInt(size, 10, 64)
	if err != nil {
		raw.b.Fatalf("no literal in %q", line)
	}
	n, err = io.Copy(io.Discard, base64.NewDecoder(base64.StdEncoding, io.LimitReader(raw.r, length)))
	if err != nil {
		raw.b.Fatal(err)
	}
	raw.finish(tag)
	return n
}

// listItems are what a list in the view METADATA asks Dovecot for.
const listItems = "(UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE MODSEQ PREVIEW BODY.PEEK[HEADER.FIELDS (REFERENCES)])"

// BenchmarkRatioListPage compares a warm page of 20 through REST, as JSON, with
// the same FETCH on a raw socket whose answer is only read.
func BenchmarkRatioListPage(b *testing.B) {
	h := sharedHouse(b)
	account, user, server := h.dovecot(b)
	for i := range 60 {
		server.Deliver(b, user, "INBOX", withAttachment("a.bin", []byte(strconv.Itoa(i))))
	}
	raw := dialRaw(b, server.Addr(), user, server.Password())
	inbox := h.folderNamed(b, account, "INBOX")["name"].(string)
	path := h.base + "/v1/" + account + "/messages" + values("folder", inbox, "pageSize", "20")
	client := posternv1.NewMessageServiceClient(h.grpc)
	ways := map[string]func(){
		"REST": func() { drain(b, path) },
		"gRPC": func() {
			page, err := client.ListMessages(asAdmin(b.Context()), &posternv1.ListMessagesRequest{Parent: account, Folder: inbox, PageSize: 20})
			if err != nil || len(page.GetMessages()) != 20 {
				b.Fatalf("%v, %v", page, err)
			}
		},
	}
	for name, page := range ways {
		b.Run(name, func(b *testing.B) {
			page()
			raw.command("UID FETCH 41:* " + listItems)
			fetch := func() { raw.command("UID FETCH 41:* " + listItems) }
			var ours, floor []time.Duration
			for b.Loop() {
				// Each goes first as often as the other, which finds the server's
				// data in the processor's caches.
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
		})
	}
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

// drainBuffer is what a client reads into; it would not make a new one for each
// answer.
var drainBuffer = make([]byte, 128<<10)

// drain reads an answer to its end and gives its length.
func drain(b *testing.B, url string) int64 {
	req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, url, nil)
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, resp.Body, drainBuffer)
	if err != nil || resp.StatusCode != http.StatusOK {
		b.Fatalf("%s: %d bytes, %v", resp.Status, n, err)
	}
	return n
}

// resident is the resident memory of this process.
func resident() int64 {
	var pages, rss int64
	if data, err := os.ReadFile("/proc/self/statm"); err == nil {
		_, _ = fmt.Sscan(string(data), &pages, &rss)
	}
	return rss * int64(os.Getpagesize())
}

// peakDuring gives how far resident memory rises above what it is at rest. The
// client is part of it.
func peakDuring(work func()) int64 {
	for range 3 {
		runtime.GC()
	}
	debug.FreeOSMemory()
	idle := resident()
	var peak atomic.Int64
	done := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		ticker := time.NewTicker(2 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				peak.Store(max(peak.Load(), resident()-idle))
			}
		}
	})
	work()
	close(done)
	watching.Wait()
	return peak.Load()
}

// sampleBytes are bytes of every value.
func sampleBytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 7 >> 3)
	}
	return b
}

// BenchmarkRatioAttachment compares the download of an attachment of 100 MB
// with fetching the part on a raw socket and decoding its base64. The ratio is
// of throughputs: 1 is as fast.
func BenchmarkRatioAttachment(b *testing.B) {
	const size = 100_000_000
	h := sharedHouse(b)
	server := dovecottest.Shared(b)
	username, password := server.User(b)
	account := h.register(b, server.Host(), server.Port(), username, password)
	server.Deliver(b, username, "INBOX", withAttachment("big.bin", sampleBytes(size)))
	raw := dialRaw(b, server.Addr(), username, password)
	part := h.newest(b, account) + "/attachments/2"
	client := posternv1.NewMessageServiceClient(h.grpc)
	ways := map[string]func() int64{
		"REST": func() int64 { return drain(b, h.base+"/v1/"+part+":download") },
		"gRPC": func() (n int64) {
			stream, err := client.DownloadAttachment(asAdmin(b.Context()), &posternv1.DownloadAttachmentRequest{Name: part})
			for err == nil {
				m, recvErr := stream.Recv()
				n += int64(len(m.GetData()))
				err = recvErr
			}
			if err != io.EOF {
				b.Fatal(err)
			}
			return n
		},
	}
	for name, download := range ways {
		b.Run(name, func(b *testing.B) {
			if n := raw.decode("2"); n != size { // Dovecot reads it from the disk once
				b.Fatalf("%d bytes", n)
			}
			var ours, floor time.Duration
			var peak int64
			for b.Loop() {
				peak = max(peak, peakDuring(func() {
					start := time.Now()
					if n := download(); n != size {
						b.Fatalf("%d bytes", n)
					}
					ours += time.Since(start)
				}))
				start := time.Now()
				raw.decode("2")
				floor += time.Since(start)
			}
			b.ReportMetric(size*float64(b.N)/ours.Seconds()/1e6, "ours-MB/s")
			b.ReportMetric(size*float64(b.N)/floor.Seconds()/1e6, "raw-MB/s")
			b.ReportMetric(float64(floor)/float64(ours), "ratio")
			b.ReportMetric(float64(peak)/(1<<20), "peak-MiB")
		})
	}
}
