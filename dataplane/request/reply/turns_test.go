package reply_test

import (
	"net/http"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/reply"
	"github.com/hopgate/hopgate/dataplane/telemetry"
)

// solo is a sink that notices when two use it at once.
type solo struct {
	header   http.Header
	inside   atomic.Int32
	together atomic.Bool
}

func (s *solo) use() {
	if s.inside.Add(1) > 1 {
		s.together.Store(true)
	}
	runtime.Gosched()
	s.inside.Add(-1)
}

func (s *solo) Header() http.Header         { return s.header }
func (s *solo) WriteHeader(int)             {}
func (s *solo) Write(p []byte) (int, error) { s.use(); return len(p), nil }
func (s *solo) Flush() error                { s.use(); return nil }
func (s *solo) Abort()                      {}

// Whoever flushes an event stream takes turns with its comments.
func TestFlushTakesTurns(t *testing.T) {
	s := &solo{header: http.Header{}}
	r := &reply.Reply{Sink: s, Record: &telemetry.Record{}, KeepAlive: time.Microsecond}
	if err := r.Stream(); err != nil {
		t.Fatal(err)
	}
	for until := time.Now().Add(100 * time.Millisecond); time.Now().Before(until) && !s.together.Load(); {
		if err := r.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	r.Close()
	if s.together.Load() {
		t.Error("a comment and a flush were under way at once")
	}
}
