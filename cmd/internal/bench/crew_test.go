package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestACrewCountsTheAnswersOfItsHop(t *testing.T) {
	defer goleak.VerifyNone(t)
	var served, wrong atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) //nolint:errcheck // half a body is a wrong one
		if string(body) != callBody || r.Header.Get("X-Litellm-Api-Key") != "Bearer key" || r.Header.Get("Mcp-Session-Id") != "session" || r.URL.Path != "/at" {
			wrong.Add(1)
		}
		served.Add(1)
		io.WriteString(w, `{"result":{"content":[{"type":"text","text":"hello"}]}}`) //nolint:errcheck // the crew tells
	}))
	defer s.Close()
	addr := s.Listener.Addr().String()
	c, err := newCrew(t.Context(), addr, os.Getpid(), 4, (&rig{key: "key"}).rawCall(addr, "/at", callBody, "session"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	for range 2 {
		before := served.Load()
		got, err := c.slice(20 * time.Millisecond)
		if err != nil || got.requests == 0 || int64(got.requests) != served.Load()-before || got.cpu <= 0 || got.cpu > time.Minute {
			t.Errorf("%+v of %d served: %v", got, served.Load()-before, err)
		}
	}
	if wrong.Load() > 0 {
		t.Errorf("%d requests weren't as asked for", wrong.Load())
	}
}

func TestACrewStopsAtAWrongAnswer(t *testing.T) {
	defer goleak.VerifyNone(t)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) //nolint:errcheck // whatever it is
		http.Error(w, "no", http.StatusForbidden)
	}))
	defer s.Close()
	addr := s.Listener.Addr().String()
	c, err := newCrew(t.Context(), addr, os.Getpid(), 2, (&rig{}).rawCall(addr, "/", callBody, ""))
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	if got, err := c.slice(time.Minute); err == nil || !strings.Contains(err.Error(), "403") || got.requests != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestAnswersAreReadToTheirEnd(t *testing.T) {
	const head, body = "HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 16\r\nVary: x\r\n\r\n", `{"text":"hello"}`
	for _, c := range []struct {
		name, bytes string
		done, wrong bool
	}{
		{"nothing", "", false, false},
		{"half a head", head[:30], false, false},
		{"half a body", head + body[:5], false, false},
		{"all but a byte", head + body[:15], false, false},
		{"all", head + body, true, false},
		{"too much", head + body + " ", false, true},
		{"another body", head + `{"text":"HELLO"}`, false, true},
		{"a refusal", strings.Replace(head, "200", "503", 1) + body, false, true},
		{"no length", "HTTP/1.1 200 OK\r\n\r\n" + body, false, true},
		{"no number", strings.Replace(head, "16", "1x", 1) + body, false, true},
	} {
		if done, err := answered([]byte(c.bytes)); done != c.done || (err != nil) != c.wrong {
			t.Errorf("%s: %v, %v", c.name, done, err)
		}
	}
}

func TestTheClockOfAProcessRuns(t *testing.T) {
	before := cpuTime(os.Getpid())
	for n, end := 0, time.Now().Add(20*time.Millisecond); time.Now().Before(end); n++ { //nolint:revive // it works
	}
	if used := cpuTime(os.Getpid()) - before; before <= 0 || used <= 0 {
		t.Errorf("%v, then %v more", before, used)
	}
}
