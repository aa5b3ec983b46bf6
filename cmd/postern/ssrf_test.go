package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/postern-mail/postern/internal/hostiletest"
)

// inner is what must not be reached: a service on this machine that says something
// worth reading to everyone who connects.
type inner struct {
	port    int
	reached atomic.Int64
}

const innerBanner = "SSH-2.0-canary-banner\r\n"

// openInner opens it on the loopback addresses of both families.
func openInner(t *testing.T) *inner {
	t.Helper()
	first, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &inner{port: first.Addr().(*net.TCPAddr).Port}
	listeners := []net.Listener{first}
	if second, err := net.Listen("tcp", fmt.Sprintf("[::1]:%d", s.port)); err == nil { // where there is IPv6
		listeners = append(listeners, second)
	}
	var accepting sync.WaitGroup
	for _, listener := range listeners {
		accepting.Go(func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				s.reached.Add(1)
				_, _ = conn.Write([]byte(innerBanner))
				conn.Close()
			}
		})
	}
	t.Cleanup(func() {
		for _, listener := range listeners {
			listener.Close()
		}
		accepting.Wait()
	})
	return s
}

// innerHosts are ways to write addresses that nobody may make the gateway connect
// to, and whether each is written so that it is an address to all the world.
var innerHosts = map[string]bool{
	"127.0.0.1": true, "127.8.9.10": true, "0.0.0.0": true, "0.1.2.3": true, "10.0.0.1": true, "172.16.0.1": true, "192.168.0.1": true,
	"169.254.169.254": true, "100.64.0.1": true, "192.0.0.1": true, "192.0.2.1": true, "198.18.0.1": true, "224.0.0.1": true,
	"240.0.0.1": true, "255.255.255.255": true,
	"::1": true, "::": true, "::ffff:127.0.0.1": true, "::ffff:7f00:1": true, "::ffff:0:7f00:1": true, "::127.0.0.1": true,
	"64:ff9b::7f00:1": true, "64:ff9b::127.0.0.1": true, "64:ff9b:1::a00:1": true, "2002:7f00:1::": true, "2001:0:7f00:1::": true,
	"2001:db8::1": true, "fc00::1": true, "fd00:ec2::254": true, "fe80::1": true, "fec0::1": true, "ff02::1": true, "100::1": true, "5f00::1": true,
	"0:0:0:0:0:0:0:1": true, "::ffff:169.254.169.254": true,

	"localhost": false, "LOCALHOST": false, "localhost.": false, "127.1": false, "127.0.1": false, "0x7f.1": false, "0x7f000001": false,
	"2130706433": false, "017700000001": false, "0177.0.0.1": false, "127.0.0.1.": false, "127.00.00.01": false, "0": false,
	"１２７.0.0.1": false, "①②⑦.0.0.1": false, "127。0。0。1": false, "ⓛocalhost": false, "lo\u00adcalhost": false,
	"[::1]": false, "[127.0.0.1]": false, "::1%lo": false, "fe80::1%lo": false, "127.0.0.1:25": false, "ann@127.0.0.1": false,
	"127.0.0.1/": false, "127.0.0.1#": false, "127.0.0.1 ": false, "127.0.0.1\x00.example.com": false, "127.0.0.1\r\nx": false,
}

// TestServeReachesNothingInner has everybody's servers be in networks that are
// closed: mail servers, OAuth 2.0 providers and webhooks. Nothing connects there, by
// whatever name and even if the environment names a proxy, and no answer tells more
// than that.
func TestServeReachesNothingInner(t *testing.T) {
	t.Parallel()
	target, proxy := openInner(t), openInner(t)
	url := fmt.Sprintf("http://127.0.0.1:%d", proxy.port)
	env := []string{"HTTP_PROXY=" + url, "HTTPS_PROXY=" + url, "http_proxy=" + url, "https_proxy=" + url, "ALL_PROXY=" + url}
	dir := t.TempDir()
	p := launch(t, env, append([]string{"serve", "--data-dir=" + dir}, loopback...)...)
	token, err := os.ReadFile(dir + "/admin-token")
	if err != nil {
		t.Fatal(err)
	}
	p.token = strings.TrimSpace(string(token))
	i := 0
	for host, address := range innerHosts {
		v := &victim{process: p, id: "v" + strconv.Itoa(i)}
		i++
		t.Run(fmt.Sprintf("%q", host), func(t *testing.T) {
			t.Parallel()
			v.reachesNoMail(t, host, target.port, address)
			v.reachesNoProvider(t, host, target.port, address)
			v.reachesNoHook(t, host, target.port, address)
		})
	}
	t.Cleanup(func() {
		if n, m := target.reached.Load(), proxy.reached.Load(); n+m > 0 {
			t.Errorf("%d connections to what is closed, and %d to the proxy", n, m)
		}
	})
}

// refusedStep checks how a step ends that would have to reach a host.
func refusedStep(t *testing.T, step map[string]any, address bool) {
	t.Helper()
	reason, text := fmt.Sprint(step["reason"]), fmt.Sprint(step)
	if reason != "HOST_NOT_ALLOWED" && (address || !strings.HasSuffix(reason, "_UNAVAILABLE") || !strings.Contains(text, "no host") && !strings.Contains(text, "no such host") && !strings.Contains(text, "looked up")) {
		t.Errorf("it ends with %v", step)
	}
	if strings.Contains(text, "canary") || strings.Contains(text, " on ") && strings.Contains(text, ":53") {
		t.Errorf("the step quotes the service, or the name server: %v", step)
	}
}

func (v *victim) reachesNoMail(t *testing.T, host string, port int, address bool) {
	t.Helper()
	server := map[string]any{"host": host, "port": port, "username": "ann", "password": "sesame"}
	_, refusal := v.call(t, http.MethodPost, "/v1/accounts?accountId="+v.id, map[string]any{
		"email": "ann@example.com", "imap": server, "smtp": server,
	})
	if refusal != "" {
		if address || !strings.Contains(refusal, "ARGUMENT_INVALID") {
			t.Errorf("mail servers: %s", refusal)
		}
		return
	}
	answer, refusal := v.call(t, http.MethodPost, "/v1/accounts/"+v.id+":verify", map[string]any{})
	if refusal != "" {
		t.Fatal(refusal)
	}
	failed := 0
	for _, s := range answer["steps"].([]any) {
		if step := s.(map[string]any); step["outcome"] == "FAILED" {
			failed++
			refusedStep(t, step, address)
		}
	}
	if failed != 2 {
		t.Errorf("IMAP and SMTP fail in %d steps: %v", failed, answer)
	}
	if _, refusal := v.call(t, http.MethodGet, "/v1/accounts/"+v.id+"/folders", nil); refusal == "" || address && !strings.Contains(refusal, "HOST_NOT_ALLOWED") {
		t.Errorf("folders: %s", refusal)
	}
}

// inURL writes a host as URLs have it.
func inURL(host string) string {
	if strings.Contains(host, ":") && !strings.HasPrefix(host, "[") {
		return "[" + host + "]"
	}
	return host
}

func (v *victim) reachesNoProvider(t *testing.T, host string, port int, address bool) {
	t.Helper()
	_, refusal := v.call(t, http.MethodPost, "/v1/accounts?accountId="+v.id+"o", map[string]any{
		"email": "ann@example.com", "imap": map[string]any{"host": "10.0.0.1", "password": "sesame"},
		"smtp": map[string]any{"host": "10.0.0.1", "oauth2": map[string]any{
			"tokenUrl": fmt.Sprintf("https://%s:%d/token", inURL(host), port), "clientId": "c", "refreshToken": "r",
		}},
	})
	if refusal != "" {
		if !strings.Contains(refusal, "ARGUMENT_INVALID") { // some addresses are none in URLs
			t.Errorf("token endpoint: %s", refusal)
		}
		return
	}
	answer, refusal := v.call(t, http.MethodPost, "/v1/accounts/"+v.id+"o:verify", map[string]any{})
	if refusal != "" {
		t.Fatal(refusal)
	}
	steps := answer["steps"].([]any)
	step := steps[len(steps)-1].(map[string]any)
	if step["check"] != "SMTP_AUTH" || step["outcome"] != "FAILED" {
		t.Errorf("token endpoint: %v", step)
	}
	refusedStep(t, step, address)
}

func (v *victim) reachesNoHook(t *testing.T, host string, port int, address bool) {
	t.Helper()
	for _, scheme := range []string{"http", "https"} {
		hook, refusal := v.call(t, http.MethodPost, "/v1/webhooks", map[string]any{
			"url": fmt.Sprintf("%s://%s:%d/hook", scheme, inURL(host), port), "types": []string{"message.created"},
		})
		if refusal != "" {
			if address || !strings.Contains(refusal, "ARGUMENT_INVALID") {
				t.Errorf("webhook: %s", refusal)
			}
			continue
		}
		answer, refusal := v.call(t, http.MethodPost, "/v1/"+hook["name"].(string)+":test", map[string]any{})
		if refusal != "" {
			t.Fatal(refusal)
		}
		text := fmt.Sprint(answer)
		if address && !strings.Contains(text, "not allowed") || strings.Contains(text, "canary") || !strings.Contains(text, "FAILED") {
			t.Errorf("webhook: %s", text)
		}
	}
}

// TestServeTellsNoBanners: where networks are open, what is no mail server there is
// not read out to those who choose host and port, and redirects lead nowhere.
func TestServeTellsNoBanners(t *testing.T) {
	t.Parallel()
	target, hidden := openInner(t), openInner(t)
	redirect := httptest.NewServer(http.RedirectHandler(fmt.Sprintf("http://127.0.0.1:%d/", hidden.port), http.StatusTemporaryRedirect))
	t.Cleanup(redirect.Close)
	p := serveIn(t, t.TempDir(), toDovecot)
	honest := hostiletest.Start(t, hostiletest.IMAP, hostiletest.Attack{})
	var told []string
	for i, mode := range []string{"TLS", "STARTTLS", "PLAINTEXT"} {
		v := &victim{process: p, id: "v" + strconv.Itoa(i)}
		server := map[string]any{"host": "127.0.0.1", "port": target.port, "tlsMode": mode, "username": "ann", "password": "sesame"}
		if _, refusal := v.call(t, http.MethodPost, "/v1/accounts?accountId="+v.id, map[string]any{"email": "ann@example.com", "imap": server, "smtp": server}); refusal != "" {
			t.Fatal(refusal)
		}
		answer, _ := v.call(t, http.MethodPost, "/v1/accounts/"+v.id+":verify", map[string]any{})
		_, refusal := v.call(t, http.MethodGet, "/v1/accounts/"+v.id+"/folders", nil)
		told = append(told, fmt.Sprint(answer), refusal)
		await(t, "the account to say why it cannot connect", func() bool {
			answer, _ := v.call(t, http.MethodGet, "/v1/accounts/"+v.id, nil)
			told = append(told, fmt.Sprint(answer))
			return answer["stateDetail"] != ""
		})
	}
	for i, url := range []string{fmt.Sprintf("http://127.0.0.1:%d/", target.port), redirect.URL} {
		v := &victim{process: p, id: "o" + strconv.Itoa(i)}
		if _, refusal := v.call(t, http.MethodPost, "/v1/accounts?accountId="+v.id, map[string]any{
			"email": "ann@example.com", "imap": map[string]any{"host": honest.Host, "port": honest.Port, "tlsMode": "PLAINTEXT", "oauth2": map[string]any{
				"tokenUrl": url, "clientId": "c", "refreshToken": "r",
			}},
		}); refusal != "" {
			t.Fatal(refusal)
		}
		answer, _ := v.call(t, http.MethodPost, "/v1/accounts/"+v.id+":verify", map[string]any{})
		hook, refusal := v.call(t, http.MethodPost, "/v1/webhooks", map[string]any{"url": url, "types": []string{"message.created"}})
		if refusal != "" {
			t.Fatal(refusal)
		}
		tested, _ := v.call(t, http.MethodPost, "/v1/"+hook["name"].(string)+":test", map[string]any{})
		told = append(told, fmt.Sprint(answer), fmt.Sprint(tested))
	}
	for _, text := range append(told, p.stderr.String()) {
		if strings.Contains(text, "canary-banner") {
			t.Errorf("the banner is told: %s", text)
		}
	}
	if target.reached.Load() == 0 || hidden.reached.Load() > 0 {
		t.Errorf("%d connections to the service, %d by way of redirects", target.reached.Load(), hidden.reached.Load())
	}
}
