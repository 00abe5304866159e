//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/fieldmaskpb"

	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// What an operator takes away is gone everywhere, within a second of the command.

// gone is how long a data plane that is connected may go on with what was taken away.
const gone = time.Second

func TestRevokedKeyIsRefusedByEveryDataPlaneWithinASecond(t *testing.T) {
	c, fleet := trio(t)
	admin := c.client(t)
	var took []time.Duration
	for i := range 20 {
		name := fmt.Sprintf("key-%02d", i)
		key := c.key(t, name, "demo")
		for _, p := range fleet {
			if err := echo(p.url("demo"), key, "while it is good"); err != nil {
				t.Fatalf("%s on %s: %v", name, p.Name, err)
			}
		}
		began := mark()
		var asked sync.WaitGroup
		times, failed := make([]time.Duration, len(fleet)), make([]error, len(fleet))
		for i, p := range fleet {
			asked.Go(func() { times[i], failed[i] = refusedAfter(p, key, began.at) })
		}
		if _, err := admin.DeleteApiKey(t.Context(), &adminv1.DeleteRequest{Name: name}); err != nil {
			t.Fatal(err)
		}
		asked.Wait()
		if err := errors.Join(failed...); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		began.within(t, name+" is refused by all data planes", slices.Max(times), gone)
		took = append(took, times...)
	}
	t.Logf("20 keys revoked, 3 data planes: asked to refused p50 %s, p99 %s, longest %s", quantile(took, 50), quantile(took, 99), quantile(took, 100))
}

// refusedAfter calls until the key is refused.
func refusedAfter(p *proxy, key string, began time.Time) (time.Duration, error) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		a, err := post(p.url("demo"), key, toolCall("echo", map[string]any{"message": "still"}))
		switch {
		case err != nil:
			return 0, err
		case a.Status == http.StatusUnauthorized:
			return time.Since(began), nil
		case a.Status != http.StatusOK:
			return 0, fmt.Errorf("%s answers %d: %s", p.Name, a.Status, a.Body)
		case time.Since(began) > time.Minute:
			return 0, fmt.Errorf("%s takes the key after %s still", p.Name, time.Since(began))
		}
		<-tick.C
	}
}

// held is an open GET stream.
type held struct {
	ended chan struct{}
	after time.Time // when it ended, once ended is closed
	err   error     // how
}

// hold begins a session and opens its stream for what the server says by itself.
func hold(t *testing.T, p *proxy, server, key string) *held {
	t.Helper()
	const revision = "2025-11-25"
	accept := []string{"Accept", "application/json, text/event-stream", "Mcp-Protocol-Version", revision}
	initialize := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":%q,"capabilities":{},"clientInfo":{"name":"e2e","version":"1"}}}`, revision)
	a, err := post(p.url(server), key, initialize, accept...)
	if err != nil || a.Status != http.StatusOK || a.Header.Get("Mcp-Session-Id") == "" {
		t.Fatalf("initialize: %v %+v", err, a)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url(server), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Mcp-Protocol-Version", revision)
	req.Header.Set("Mcp-Session-Id", a.Header.Get("Mcp-Session-Id"))
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req) //nolint:bodyclose // closed at its end
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK {
		res.Body.Close() //nolint:errcheck // the test ends
		t.Fatalf("the stream isn't opened: %s", res.Status)
	}
	h := &held{ended: make(chan struct{})}
	go func() {
		defer close(h.ended)
		_, h.err = io.Copy(io.Discard, res.Body)
		h.after = time.Now()
		res.Body.Close() //nolint:errcheck // read to its end
	}()
	return h
}

func (h *held) open() bool {
	select {
	case <-h.ended:
		return false
	default:
		return true
	}
}

// endsWithin waits for the end of the stream and returns when it came.
func (h *held) endsWithin(t *testing.T, limit time.Duration, began instant, why string) {
	t.Helper()
	select {
	case <-h.ended:
		took := h.after.Sub(began.at)
		t.Logf("%s: the stream ended after %s (%v)", why, took.Round(10*time.Microsecond), h.err)
		began.within(t, why+": the stream ended", took, limit)
	case <-time.After(limit + 10*gone):
		t.Errorf("%s: the stream was still open %s later", why, time.Since(began.at).Round(time.Millisecond))
	}
}

func TestRevokedStreamsEndWithinASecond(t *testing.T) {
	c, fleet := trio(t)
	c.apply(t, server("stateful", sdkEverything(t, false, localhost(t))))
	admin, p := c.client(t), fleet[1]

	revoked, narrowed, kept := c.key(t, "revoked", "stateful"), c.key(t, "narrowed", "stateful,demo"), c.key(t, "kept", "stateful")
	ofRevoked, ofNarrowed, ofKept := hold(t, p, "stateful", revoked), hold(t, p, "stateful", narrowed), hold(t, p, "stateful", kept)
	if !ofRevoked.open() || !ofNarrowed.open() || !ofKept.open() {
		t.Fatal("a stream ended by itself")
	}
	began := mark()
	if _, err := admin.DeleteApiKey(t.Context(), &adminv1.DeleteRequest{Name: "revoked"}); err != nil {
		t.Fatal(err)
	}
	ofRevoked.endsWithin(t, gone, began, "its key is revoked")

	began = mark()
	_, err := admin.UpdateApiKey(t.Context(), &adminv1.UpdateApiKeyRequest{Name: "narrowed", UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"spec.servers"}},
		Apikey: &configv1.ApiKey{Name: "narrowed", Spec: &configv1.ApiKeySpec{Servers: []string{"demo"}}}})
	if err != nil {
		t.Fatal(err)
	}
	ofNarrowed.endsWithin(t, gone, began, "its key doesn't open the server any more")
	if err := echo(p.url("demo"), narrowed, "what is left"); err != nil {
		t.Errorf("the server that the key still opens: %v", err)
	}
	if a, err := post(p.url("stateful"), narrowed, toolCall("echo", nil)); err != nil || a.Status != http.StatusNotFound {
		t.Errorf("the server that it doesn't open: %v, status %d, want 404", err, a.Status)
	}
	if !ofKept.open() {
		t.Errorf("the stream of another key ended, too: %v", ofKept.err)
	}
}

func TestRevokedByRotationAfterTheOverlap(t *testing.T) {
	c, fleet := trio(t)
	c.apply(t, server("stateful", sdkEverything(t, false, localhost(t))))
	old := c.key(t, "rotated", "demo,stateful")
	stream := hold(t, fleet[0], "stateful", old)

	overlap := c.unhurried(t, 5*time.Second)
	began := mark()
	res := c.command(t, "", nil, "key", "rotate", "rotated", "--overlap", overlap.String())
	if res.Code != 0 {
		t.Fatalf("key rotate: %v", res)
	}
	c.settled(t)
	fresh := strings.TrimSpace(res.Out)
	for _, p := range fleet {
		for name, key := range map[string]string{"old": old, "new": fresh} {
			if err := echo(p.url("demo"), key, "both"); err != nil {
				t.Errorf("the %s key on %s, %s after the rotation: %v", name, p.Name, time.Since(began.at), err)
			}
		}
	}
	if !stream.open() {
		t.Errorf("the stream of the old key ended with the rotation: %v", stream.err)
	}
	// Ends are told in whole seconds: the overlap may be up to one shorter.
	for _, p := range fleet {
		took, err := refusedAfter(p, old, began.at)
		if err != nil {
			t.Fatal(err)
		}
		if took < overlap-2*time.Second {
			t.Errorf("%s refused the old key %s after the rotation, with an overlap of %s", p.Name, took, overlap)
		}
		began.within(t, p.Name+" refused the old key after the rotation", took, overlap+gone)
		if err := echo(p.url("demo"), fresh, "after"); err != nil {
			t.Errorf("the new key on %s after the overlap: %v", p.Name, err)
		}
	}
	stream.endsWithin(t, overlap+gone, began, "the overlap is over")
}
