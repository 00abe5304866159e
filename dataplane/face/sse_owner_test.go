package face_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	"github.com/hopgate/hopgate/dataplane/peer"
)

// listenAt takes an address that a data plane has left.
func listenAt(t *testing.T, url string, h http.HandlerFunc) {
	t.Helper()
	l, err := net.Listen("tcp", strings.TrimPrefix(url, "http://"))
	fatal(t, err)
	s := httptest.NewUnstartedServer(h)
	s.Listener.Close()
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
}

// Red when anything is sent before the owner has proved itself.
func TestAStrangerAtTheOwnersAddressSeesNoRequest(t *testing.T) {
	up := mcptest.Start(t, new(mcptest.Stateful))
	a, b := start(t, one(up.URL)), start(t, one(up.URL))
	l := a.listen(t, "/up/sse")
	a.stop()
	var asked, seen atomic.Int32
	listenAt(t, a.url, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Method == http.MethodGet && r.URL.Path == peer.Door && len(body) == 0 && r.Header.Get("X-Litellm-Api-Key") == "" {
			asked.Add(1)
			return
		}
		seen.Add(1)
	})
	got := b.send(t, "POST", l.post, hello)
	if got.status != 404 || !strings.Contains(got.body, "-32001") || !strings.Contains(got.body, "isn't at its address any more") {
		t.Errorf("%d %s", got.status, got.body)
	}
	if asked.Load() != 1 || seen.Load() != 0 {
		t.Errorf("the stranger was challenged %d times and saw %d requests", asked.Load(), seen.Load())
	}
}

func TestAnOwnerStartedAnewIsALostSession(t *testing.T) {
	up := mcptest.Start(t, new(mcptest.Stateful))
	a, b := start(t, one(up.URL)), start(t, one(up.URL))
	l := a.listen(t, "/up/sse")
	l.send(t, b, hello)
	l.want(t, "protocolVersion")
	a.stop()
	s := one(up.URL)
	s.at = strings.TrimPrefix(a.url, "http://")
	anew := start(t, s)
	for _, r := range []*replica{b, anew} {
		if got := r.send(t, "POST", l.post, list); got.status != 404 || !strings.Contains(got.body, "-32001") {
			t.Errorf("%d %s", got.status, got.body)
		}
	}
	if n := strings.Count(anew.access.String(), "POST /up/message"); n > 1 { // one was sent to it
		t.Errorf("the new process got the request of the one before:\n%s", anew.access)
	}
	anew.listen(t, "/up/sse").converse(t, b, "ask")
}

func TestTheDoorOfDataPlanesIsAnyUnknownPathToOthers(t *testing.T) {
	r := start(t, one(mcptest.Start(t, mcptest.Stateless()).URL))
	for _, key := range []string{"", alice} {
		unknown := r.send(t, "GET", "/.well-known/nothing", "", "X-Litellm-Api-Key", key)
		got := r.send(t, "GET", peer.Door, "", "X-Litellm-Api-Key", key, peer.ChallengeHeader, "AAAA")
		if got.status != unknown.status || got.status < 400 || got.header.Get("X-Hopgate-Error") != unknown.header.Get("X-Hopgate-Error") {
			t.Errorf("%d %s, another path %d %s", got.status, got.body, unknown.status, unknown.body)
		}
	}
}
