package imapconn

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/selfsigned"
)

// benchServerEnv, if set, makes the test binary the server of a benchmark, so
// that its memory and time are not those of the client's process.
const benchServerEnv = "IMAPCONN_BENCH_SERVER"

// benchBody is the size of the one message's body.
const benchBody = 100 << 20

// serveBench serves on two loopback ports, in clear and with TLS, until its
// input ends.
func serveBench() {
	cert, _, err := selfsigned.New()
	if err != nil {
		os.Exit(1)
	}
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		os.Exit(1)
	}
	secure, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		os.Exit(1)
	}
	for _, l := range []net.Listener{plain, secure} {
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				go serveBenchConn(conn)
			}
		}()
	}
	fmt.Println(plain.Addr(), secure.Addr(), base64.StdEncoding.EncodeToString(cert.Certificate[0]))
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func serveBenchConn(conn net.Conn) {
	defer conn.Close()
	fmt.Fprint(conn, "* PREAUTH [CAPABILITY IMAP4rev1 IDLE ENABLE CONDSTORE ESEARCH UIDPLUS MOVE NAMESPACE SPECIAL-USE LIST-STATUS] ready\r\n")
	r := bufio.NewReader(conn)
	block := bytes.Repeat([]byte("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n"), 1024)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		tag, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case strings.HasPrefix(rest, "IDLE"):
			fmt.Fprint(conn, "+ idling\r\n")
			continue
		case strings.HasPrefix(rest, "SELECT"):
			fmt.Fprint(conn, "* 1 EXISTS\r\n* OK [UIDVALIDITY 1] ok\r\n* OK [UIDNEXT 2] ok\r\n* FLAGS (\\Seen)\r\n")
		case strings.HasPrefix(rest, "UID FETCH"):
			fmt.Fprintf(conn, "* 1 FETCH (UID 1 BODY[] {%d}\r\n", benchBody)
			for left := benchBody; left > 0; left -= len(block) {
				if _, err := conn.Write(block[:min(left, len(block))]); err != nil {
					return
				}
			}
			fmt.Fprint(conn, ")\r\n")
		}
		fmt.Fprintf(conn, "%s OK done\r\n", tag)
	}
}

// benchServer starts the server in a process of its own.
func benchServer(b *testing.B) (plain, secure Config) {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), benchServerEnv+"=1")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { stdin.Close(); _ = cmd.Wait() })
	var addrs [2]string
	var der string
	if _, err := fmt.Fscan(stdout, &addrs[0], &addrs[1], &der); err != nil {
		b.Fatal(err)
	}
	raw, err := base64.StdEncoding.DecodeString(der)
	if err != nil {
		b.Fatal(err)
	}
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		b.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	for i, cfg := range []*Config{&plain, &secure} {
		cfg.Host, cfg.Port = splitAddr(b, addrs[i])
		cfg.TLS = &tls.Config{RootCAs: roots, ServerName: cfg.Host}
		cfg.CommandTimeout = testTimeout
	}
	plain.TLSMode, secure.TLSMode = ModePlaintext, ModeTLS
	return plain, secure
}
