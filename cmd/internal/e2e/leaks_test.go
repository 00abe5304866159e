//go:build e2e

package e2e

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// spill is a gateway full of secrets: two control planes and two data planes, of each one that logs for people and one that logs JSON.
type spill struct {
	*ledger
	gossip   *gossip
	jaeger   jaeger
	members  []*member
	controls []*control
	proxies  []*proxy
	kek      string // its file
	plain    string // name of the server without a credential: the control word, which must show wherever we look
	key      string
	previous string // the key that it replaced and that still works
	headers  map[string][]string
	callers  *http.Client
	admins   *http.Client
	turn     int
}

// TestNoSecretIsFoundAgain plants a secret wherever one can be, drives every path that succeeds or fails with it, and then searches all that
// came out of the gateway. What upstreams themselves send as valid JSON-RPC is passed on byte for byte by design and isn't searched.
func TestNoSecretIsFoundAgain(t *testing.T) {
	began := time.Now()
	s := startSpill(t)
	s.configure(t)
	s.calls(t)
	s.tokens(t)
	s.oddRequests(t)
	s.misplace(t)
	s.mistype(t)
	s.read(t)
	s.lookInside(t)
	s.gather(t)
	s.judge(t)
	t.Logf("took %s", time.Since(began).Round(time.Millisecond))
}

func startSpill(t *testing.T) *spill {
	t.Helper()
	l := newLedger()
	l.known("the master key", masterKey, nil)
	s := &spill{ledger: l, gossip: startGossip(t, l), jaeger: startJaeger(t), members: startEtcd(t), plain: "conspicuously_here",
		headers: map[string][]string{}, kek: filepath.Join(t.TempDir(), "kek")}
	s.callers = &http.Client{Transport: &recorder{l, "answer"}, Timeout: 20 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	s.admins = &http.Client{Transport: &recorder{l, "admin"}, Timeout: 20 * time.Second}
	kek := []byte(randomText(32))
	l.known("the key-encryption key", string(kek), nil)
	hexed := fmt.Sprintf("%x", kek)
	if err := os.WriteFile(s.kek, []byte(hexed), 0o600); err != nil {
		t.Fatal(err)
	}
	env := append(s.jaeger.env(), "OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20"+l.word("the collector's token"))
	for i, format := range []string{"human", "json"} {
		s.controls = append(s.controls, startControl(t, fmt.Sprintf("control-%d", i+1), env, "--etcd", clients(s.members), "--kek-file", s.kek, "--log-format", format, "--log-level", "debug"))
	}
	for i, format := range []string{"human", "json"} {
		s.proxies = append(s.proxies, startProxy(t, fmt.Sprintf("proxy-%d", i+1), env, s.controls, "--log-format", format, "--log-level", "debug"))
	}
	return s
}

// recorder keeps every answer for the search.
type recorder struct {
	ledger *ledger
	place  string
}

// RoundTrip implements http.RoundTripper.
func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := quick.Transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close() //nolint:errcheck // read only
	body, err := io.ReadAll(res.Body)
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s\r\n", res.Proto, res.Status)
	res.Header.Write(&b)
	b.Write(r.ledger.withoutOwn(body))
	res.Trailer.Write(&b)
	asked := []byte("/.well-known/oauth-protected-resource" + req.URL.Path) // a challenge says back which URL was asked for (RFC 9728 section 5.1)
	r.ledger.see(r.place, req.Method+" "+req.URL.Path, bytes.ReplaceAll(b.Bytes(), asked, []byte("(as asked for)")))
	res.Body = io.NopCloser(bytes.NewReader(body))
	if err != nil { // a body that was broken off counts as far as it came
		res.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), strings.NewReader(" (broken off)")))
	}
	return res, nil
}

// plane takes turns.
func (s *spill) plane() *proxy {
	s.turn++
	return s.proxies[s.turn%len(s.proxies)]
}

// send sends a request to a data plane; path may have a query.
func (s *spill) send(t *testing.T, method, path, body string, header ...string) answer {
	t.Helper()
	req, err := http.NewRequest(method, "http://"+s.plane().Listen+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Litellm-Mcp-Debug", "true")
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
			continue
		}
		req.Header.Set(header[i], header[i+1])
	}
	res, err := s.callers.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close() //nolint:errcheck // read only
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(b)}
}

// call calls a tool of a server with our key and what that server wants of callers.
func (s *spill) call(t *testing.T, server, tool string, header ...string) answer {
	t.Helper()
	args := map[string]any{"text": s.secret("a tool's argument")}
	return s.send(t, http.MethodPost, "/"+server+"/mcp", toolCall(tool, args), slices.Concat([]string{"X-Litellm-Api-Key", "Bearer " + s.key}, s.headers[server], header)...)
}

// command runs one of the operators' commands and keeps what it prints.
func (s *spill) command(t *testing.T, stdin string, env []string, args ...string) result {
	t.Helper()
	s.turn++
	var res result
	if slices.Contains([]string{"tools", "call", "proxy", "version"}, args[0]) { // they know no admin API
		res = run(t, 20*time.Second, program{Name: args[0], Args: append([]string{hopgate(t)}, args...), Env: env}, stdin)
	} else {
		res = s.controls[s.turn%len(s.controls)].command(t, stdin, env, args...)
	}
	s.see("cli", strings.Join(args, " "), fmt.Appendf(nil, "%s\n%s\nexit status %d", res.Out, res.Err, res.Code))
	return res
}

// calls calls every server in every way that its upstream can answer.
func (s *spill) calls(t *testing.T) {
	valid := s.token("a caller's JWT", s.gossip.sign("one", s.gossip.key, s.gossip.claims("us", nil)))
	s.headers["exchange"] = []string{"X-Litellm-Api-Key", "Bearer " + valid}
	tools := append(slices.Sorted(maps.Keys(misbehaviours)), "works", "error 200", "error 401", "event")
	for _, name := range []string{s.plain, "bearer", "basic", "keyed", "whole", "static", "clients", "forward", "passing", "machine", "posted", "exchange", "leaky"} {
		for i, tool := range tools {
			accept := []string{"application/json, text/event-stream", "*/*"}[i%2]
			a := s.call(t, name, tool, "Accept", accept)
			if good := tool == "works"; good != (a.Status == http.StatusOK && !strings.Contains(a.Body, `"error"`)) && tool != "event" {
				t.Errorf("%s, %s: status %d, %s", name, tool, a.Status, cmp.Or(a.Header.Get("X-Hopgate-Error"), a.Body))
			}
		}
	}
	for i := range denials {
		for _, name := range []string{"denied", "posted", "swapped"} {
			s.headers["swapped"+fmt.Sprint(i)] = s.headers["exchange"]
			s.fails(t, s.call(t, fmt.Sprint(name, i), "works"), "authserver")
		}
	}
	for name := range s.unreachable("") {
		s.fails(t, s.call(t, name, "works"), "upstream")
	}
	if a := s.call(t, "bearer", "works", "X-Litellm-Api-Key", "Bearer "+s.previous); a.Status != http.StatusOK {
		t.Errorf("the key before isn't taken: %+v", a)
	}
	s.fails(t, s.call(t, "exchange", "works", "X-Litellm-Api-Key", s.key), "authserver")
	s.session(t)
}

// fails checks at which hop a request failed.
func (s *spill) fails(t *testing.T, a answer, hop string) {
	t.Helper()
	if face := a.Header.Get("X-Hopgate-Error"); !strings.HasPrefix(face, "hop="+hop+";") {
		t.Errorf("status %d, %q instead of a failure at %s: %s", a.Status, face, hop, a.Body)
	}
}

// session opens one, uses it in every way, and ends it.
func (s *spill) session(t *testing.T) {
	t.Helper()
	key := []string{"X-Litellm-Api-Key", s.key}
	hello := `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}`
	for range s.proxies {
		sealed := s.send(t, http.MethodPost, "/bearer/mcp", hello, key...).Header.Get("Mcp-Session-Id")
		if sealed == "" {
			t.Fatal("no session")
		}
		const same = 20 // version, key, principal and endpoint, which are no secrets
		s.known("a session id of ours", sealed[same:], func(h *haystack) bool { return h.place == "answer" && h.name == "POST /bearer/mcp" })
		with := append(key, "Mcp-Session-Id", sealed, "Mcp-Protocol-Version", "2025-11-25")
		for _, tool := range []string{"works", "page 401", "json 500"} {
			s.send(t, http.MethodPost, "/bearer/mcp", toolCall(tool, nil), with...)
		}
		s.send(t, http.MethodPost, "/basic/mcp", toolCall("works", nil), with...)
		s.send(t, http.MethodGet, "/bearer/mcp", "", append(with, "Accept", "text/event-stream", "Last-Event-Id", s.word("an event id"))...)
		s.send(t, http.MethodDelete, "/bearer/mcp", "", with...)
	}
}
