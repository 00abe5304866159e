//go:build e2e

package e2e

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// gossip is the world around the gateway: MCP servers, a token endpoint and an issuer, on one address. It takes what it should, hands out
// secrets of its own, and repeats all it was told in every way an answer can go wrong.
type gossip struct {
	*httptest.Server
	ledger  *ledger
	key     ed25519.PrivateKey
	hanging chan struct{} // one per request that hangs
	release chan struct{} // closed when they may go on
}

func startGossip(t *testing.T, l *ledger) *gossip {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	g := &gossip{ledger: l, key: key, hanging: make(chan struct{}, 8), release: make(chan struct{})}
	g.Server = httptest.NewServer(g)
	t.Cleanup(func() { g.CloseClientConnections(); g.Close() })
	return g
}

// heard is one request and what it said, as one text.
type heard struct {
	*http.Request
	body, all, credential string
}

func hear(r *http.Request) heard {
	body, _ := io.ReadAll(r.Body) //nolint:errcheck // what came is what counts
	h := heard{Request: r, body: string(body)}
	var b strings.Builder
	fmt.Fprintf(&b, "%s http://%s%s\n", r.Method, r.Host, r.URL.RequestURI())
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		fmt.Fprintf(&b, "%s: %s\n", name, strings.Join(r.Header[name], ", "))
	}
	h.all = b.String() + "\n" + h.body
	for _, name := range []string{"Authorization", "X-Upstream-Key", "X-Static", "X-Tenant", "X-Passed", "X-Held"} {
		if v := r.Header.Get(name); v != "" {
			h.credential = v
		}
	}
	return h
}

// ServeHTTP answers one request.
func (g *gossip) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := hear(r)
	switch path := r.URL.Path; {
	case path == "/.well-known/openid-configuration":
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, g.URL, g.URL+"/jwks")
	case path == "/jwks":
		fmt.Fprintf(w, `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"one","use":"sig","alg":"EdDSA","x":%q}]}`,
			base64.RawURLEncoding.EncodeToString(g.key.Public().(ed25519.PublicKey)))
	case path == "/token":
		g.issue(w, "Bearer")
	case strings.HasPrefix(path, "/token/"):
		g.deny(w, h, strings.TrimPrefix(path, "/token/"))
	case strings.HasPrefix(path, "/early/"), r.Method != http.MethodPost:
		misbehaviours["page 500"](w, h)
	default:
		g.converse(w, h)
	}
}

func (g *gossip) issue(w http.ResponseWriter, kind string) {
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"access_token":%q,"token_type":%q,"expires_in":300}`, g.ledger.word("a token that the token endpoint issued"), kind)
}

// denials are ways in which a token endpoint fails.
var denials = []string{"described", "coded", "typed", "page 401", "page 200", "redirect", "garbage", "reason", "field", "not JSON"}

// deny fails at the token endpoint. Client secrets in it are as they came: in Basic or in the form.
func (g *gossip) deny(w http.ResponseWriter, h heard, how string) {
	answer := map[string]string{"error": "invalid_client", "error_description": h.all, "error_uri": "https://login.example.com/?" + h.body}
	switch how {
	case "typed":
		g.issue(w, g.ledger.word("a token that stood where its type belongs"))
		return
	case "coded":
		answer["error"] = h.credential + h.body
	case "described":
	default:
		misbehaviours[how](w, h)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusBadRequest)
	json.NewEncoder(w).Encode(answer) //nolint:errcheck // the other end may be gone
}

// converse speaks MCP of both eras, with sessions in the older one. A tool's name says what goes wrong with its call.
func (g *gossip) converse(w http.ResponseWriter, h heard) {
	var m struct {
		ID     json.RawMessage
		Method string
		Params struct {
			Name      string
			Arguments json.RawMessage
		}
	}
	json.Unmarshal([]byte(h.body), &m) //nolint:errcheck // an empty message is answered like any other
	switch {
	case m.Method == "initialize":
		w.Header().Set("Mcp-Session-Id", g.ledger.word("a session id of an upstream"))
		g.message(w, m.ID, `"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"gossip","version":"1"}}`)
	case m.Method == "server/discover":
		g.message(w, m.ID, `"result":{"resultType":"complete","supportedVersions":["2026-07-28","2025-11-25"],"capabilities":{"tools":{}},"ttlMs":0,"cacheScope":"public"}`)
	case len(m.ID) == 0:
		w.WriteHeader(http.StatusAccepted)
	case m.Method != "tools/call":
		g.message(w, m.ID, `"result":{"resultType":"complete","tools":[{"name":"works","inputSchema":{"type":"object"}}]}`)
	case m.Params.Name == "works":
		g.message(w, m.ID, fmt.Sprintf(`"result":{"resultType":"complete","content":[{"type":"text","text":"%s"}],"structuredContent":{"you":%s}}`,
			g.ledger.known("a tool's result", randomText(28), called), m.Params.Arguments))
	case m.Params.Name == "hangs":
		g.hanging <- struct{}{}
		select {
		case <-g.release:
		case <-h.Context().Done():
		}
		g.message(w, m.ID, `"result":{"resultType":"complete","content":[]}`)
	case strings.HasPrefix(m.Params.Name, "error "):
		if strings.HasSuffix(m.Params.Name, " 401") {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusUnauthorized)
		}
		g.message(w, m.ID, `"error":{"code":-32000,"message":`+quoted("you sent "+h.all)+`,"data":{"credential":`+quoted(h.credential)+`}}`)
	case m.Params.Name == "event":
		g.events(w, h)
	default:
		misbehaviours[m.Params.Name](w, h)
	}
}

// called is where a tool's result belongs beside answers: on the screen of who called it.
func called(h *haystack) bool { return h.place == "cli" && strings.HasPrefix(h.name, "call ") }

// message answers with valid JSON-RPC, which the gateway has to pass on byte for byte, and notes it.
func (g *gossip) message(w http.ResponseWriter, id json.RawMessage, rest string) {
	m := fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,%s}`, id, rest)
	g.ledger.sent(m)
	w.Header().Set("Content-Type", "application/json")
	io.WriteString(w, m)
}

// events answers with a valid notification and then breaks off.
func (g *gossip) events(w http.ResponseWriter, h heard) {
	m := `{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":` + quoted(h.all) + `}}`
	g.ledger.sent(m)
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprintf(w, "data: %s\n\n", m)
	w.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

func quoted(s string) string {
	b, _ := json.Marshal(s) //nolint:errcheck // strings always marshal
	return string(b)
}

// misbehaviours are answers that repeat what was sent, by the name of the tool that brings them.
var misbehaviours = map[string]func(w http.ResponseWriter, h heard){
	"page 200": page(http.StatusOK), "page 401": page(http.StatusUnauthorized), "page 403": page(http.StatusForbidden), "page 500": page(http.StatusInternalServerError), "page 502": page(http.StatusBadGateway),
	"json 200": plainly(http.StatusOK), "json 401": plainly(http.StatusUnauthorized), "json 403": plainly(http.StatusForbidden), "json 429": plainly(http.StatusTooManyRequests), "json 500": plainly(http.StatusInternalServerError),
	"redirect": func(w http.ResponseWriter, h heard) {
		w.Header().Set("Location", "https://elsewhere.example.com/"+h.credential+"?from="+h.URL.RequestURI())
		page(http.StatusFound)(w, h)
	},
	"not JSON": func(w http.ResponseWriter, h heard) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, h.credential+"\n"+h.all)
	},
	"odd type": func(w http.ResponseWriter, h heard) {
		w.Header().Set("Content-Type", "application/"+h.credential)
		io.WriteString(w, h.all)
	},
	"not an event": func(w http.ResponseWriter, h heard) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, "event: %s\ndata: %s\n\n%s\n\n", h.credential, h.credential, h.all)
	},
	"cut": func(w http.ResponseWriter, h heard) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", "100000")
		io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":{"x":"`+h.all) //nolint:errcheck // it is cut anyway
		panic(http.ErrAbortHandler)
	},
	"garbage": bytewise("%s\r\n"),
	"reason":  bytewise("HTTP/1.1 500 %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
	"status":  bytewise("HTTP/1.1 %s OK\r\nContent-Length: 0\r\n\r\n"),
	"field":   bytewise("HTTP/1.1 200 OK\r\n%s\r\nContent-Length: 0\r\n\r\n"),
	"length":  bytewise("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %s\r\n\r\n{}"),
	"chunk":   bytewise("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n%s\r\n{}\r\n0\r\n\r\n"),
	"coding":  bytewise("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: %s\r\n\r\n{}"),
}

// telling puts the credential into headers that gateways like to look at.
func telling(w http.ResponseWriter, h heard) {
	w.Header().Set("WWW-Authenticate", `Bearer realm="`+h.credential+`", error_description="`+h.credential+`", resource_metadata="http://127.0.0.1:9/`+h.credential+`"`)
	w.Header().Set("Set-Cookie", "session="+strings.ReplaceAll(h.credential, " ", "_"))
	w.Header().Set("Retry-After", h.credential)
	w.Header().Set("X-You-Sent", h.credential)
	w.Header().Set("Server", h.credential)
	w.Header().Set("Mcp-Session-Id", strings.ReplaceAll(h.credential, " ", "_"))
}

func page(status int) func(w http.ResponseWriter, h heard) {
	return func(w http.ResponseWriter, h heard) {
		telling(w, h)
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(status)
		fmt.Fprintf(w, "<!doctype html><title>%s</title><pre>%s</pre><!-- %s -->", h.credential, html.EscapeString(h.all), h.all)
	}
}

func plainly(status int) func(w http.ResponseWriter, h heard) {
	return func(w http.ResponseWriter, h heard) {
		telling(w, h)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(map[string]string{"error": h.credential, "message": h.all}) //nolint:errcheck // the other end may be gone
	}
}

// bytewise answers on the bare connection with the credential in a place of its choice, and with all that was sent after it.
func bytewise(format string) func(w http.ResponseWriter, h heard) {
	return func(w http.ResponseWriter, h heard) {
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer c.Close() //nolint:errcheck // it is broken on purpose
		fmt.Fprintf(c, format+"%s", h.credential, h.all)
	}
}

// claims is a JWT's payload that the issuer stands for; more adds to it or overrides.
func (g *gossip) claims(audience string, more map[string]any) map[string]any {
	now := time.Now()
	c := map[string]any{"iss": g.URL, "sub": "somebody", "aud": audience, "client_id": "portal", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(), "jti": randomText(24)}
	maps.Copy(c, more)
	return c
}

// sign makes a JWT.
func (g *gossip) sign(kid string, key ed25519.PrivateKey, claims map[string]any) string {
	body, _ := json.Marshal(claims) //nolint:errcheck // plain values always marshal
	text := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"alg":"EdDSA","typ":"JWT","kid":%q}`, kid)) + "." + base64.RawURLEncoding.EncodeToString(body)
	return text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, []byte(text)))
}
