package hop_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	"github.com/hopgate/hopgate/dataplane/request/hop"
	"github.com/hopgate/hopgate/dataplane/request/hop/credential"
	"github.com/hopgate/hopgate/dataplane/table"
)

// healthy runs the health checks of servers until the test ends.
func healthy(t *testing.T, h *hop.Hop, attach hop.Attach, servers ...*table.Server) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := h.RunHealth(ctx, func() []*table.Server { return servers }, attach); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
}

func without(context.Context, *table.Server) ([]credential.Field, error) {
	return nil, errors.ErrUnsupported
}

var often = table.Resilience{BreakerFailures: 1, BreakerOpen: 10 * time.Millisecond, HealthInterval: 20 * time.Millisecond, HealthTimeout: 5 * time.Second}

// moody answers discovery and pings with a status that changes.
type moody struct{ status atomic.Int64 }

func (m *moody) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s := int(m.status.Load()); s == 0 {
		panic(http.ErrAbortHandler)
	} else if s != http.StatusOK {
		w.WriteHeader(s)
		return
	}
	mcptest.Result(w, mcptest.Read(r), `{"supportedVersions":["2026-07-28"]}`)
}

func TestProbesOpenAndCloseTheBreaker(t *testing.T) {
	m := &moody{}
	m.status.Store(503)
	up := mcptest.Start(t, m)
	h, s := newHop(t), instances(t, often, up.URL)
	healthy(t, h, without, s)
	eventually(t, "503 opens it", func() bool { return len(h.OpenInstances(s)) == 1 })
	if open := h.OpenInstances(s); len(open) == 1 && !strings.HasPrefix(open[0], s.Target.Masked+" (headers/unavailable: ") {
		t.Errorf("%v", open)
	}
	m.status.Store(401)
	eventually(t, "being refused is living", func() bool { return len(h.OpenInstances(s)) == 0 })
	m.status.Store(0)
	eventually(t, "a reset opens it", func() bool { return len(h.OpenInstances(s)) == 1 })
	m.status.Store(200)
	eventually(t, "an answer closes it", func() bool { return len(h.OpenInstances(s)) == 0 })
	if _, _, _, err := outcome(h, t.Context(), callOf(s)); err != nil {
		t.Error(err)
	}
	for _, q := range up.Seen() {
		var m mcptest.Message
		json.Unmarshal(q.Body, &m)
		if m.Method != "server/discover" && m.Method != "tools/call" {
			t.Fatalf("a probe with effects: %s", q.Body)
		}
	}
}

func TestAnOpenBreakerIsProbedWithoutAnInterval(t *testing.T) {
	m := &moody{}
	up := mcptest.Start(t, m)
	r := often
	r.HealthInterval = 0
	h, s := newHop(t), instances(t, r, up.URL)
	healthy(t, h, without, s)
	outcome(h, t.Context(), callOf(s))
	if len(h.OpenInstances(s)) != 1 {
		t.Fatal("it isn't open")
	}
	m.status.Store(200)
	eventually(t, "it is back", func() bool { return len(h.OpenInstances(s)) == 0 })
	var m2 mcptest.Message
	for _, q := range up.Seen()[1:] {
		if json.Unmarshal(q.Body, &m2); m2.Method != "server/discover" {
			t.Errorf("a call found out: %s", q.Body)
		}
	}
}

func TestProbesSpeakTheServersEraWithItsCredential(t *testing.T) {
	own := func(context.Context, *table.Server) ([]credential.Field, error) {
		return []credential.Field{{Name: "Authorization", Value: "Bearer own"}}, nil
	}
	for _, c := range []struct {
		name, protocol string
		legacy         bool // its initialize was answered before
		attach         hop.Attach
		method, auth   string
	}{
		{"modern", "modern", false, own, "server/discover", "Bearer own"},
		{"legacy", "legacy", false, without, "ping", ""},
		{"unknown", "auto", false, without, "server/discover", ""},
		{"known as legacy", "auto", true, own, "ping", "Bearer own"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &moody{}
			m.status.Store(200)
			up := mcptest.Start(t, m)
			h, s := newHop(t), instances(t, often, up.URL)
			s.Protocol = c.protocol
			if c.legacy {
				h.Learn(s, "initialize", 200, []byte(isLegacy), time.Now())
			}
			healthy(t, h, c.attach, s)
			eventually(t, "a probe", func() bool { return len(up.Seen()) > 0 })
			q := up.Seen()[0]
			var msg mcptest.Message
			json.Unmarshal(q.Body, &msg)
			if msg.Method != c.method || q.Header.Get("Authorization") != c.auth || q.Header.Get("Mcp-Session-Id") != "" {
				t.Errorf("%s %v", q.Body, q.Header)
			}
			modern := c.method == "server/discover"
			if modern != (q.Header.Get("Mcp-Method") == c.method) || modern != (q.Header.Get("Mcp-Protocol-Version") == "2026-07-28") {
				t.Errorf("%v", q.Header)
			}
		})
	}
}

func TestProbesTeachTheEra(t *testing.T) {
	up := mcptest.Start(t, mcptest.Legacy())
	h, s := newHop(t), instances(t, often, up.URL)
	healthy(t, h, without, s)
	eventually(t, "the era is known", func() bool { return h.Known(s, time.Now()).NotModern })
}

func TestAProbeWithoutItsCredentialLetsACallFindOut(t *testing.T) {
	m := &moody{}
	up := mcptest.Start(t, m)
	r := often
	r.HealthInterval = 0
	h, s := newHop(t), instances(t, r, up.URL)
	healthy(t, h, func(context.Context, *table.Server) ([]credential.Field, error) { return nil, errors.New("no token") }, s)
	outcome(h, t.Context(), callOf(s))
	m.status.Store(200)
	eventually(t, "a call passes", func() bool { _, _, _, err := outcome(h, t.Context(), callOf(s)); return err == nil })
	if n := len(up.Seen()); n != 2 {
		t.Errorf("%d requests", n)
	}
}
