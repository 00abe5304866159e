package process_test

import (
	"bytes"
	"log/slog"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hopgate/hopgate/cmd/internal/process"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// buffer may be written and read at once.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func newLog(t testing.TB) (*slog.Logger, *buffer) {
	t.Helper()
	out := &buffer{}
	log, err := process.NewLogger(process.LogConfig{Out: out, Level: "debug"})
	if err != nil {
		t.Fatal(err)
	}
	return log, out
}

// eventually waits until ok, for at most twenty seconds.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within twenty seconds: %s", what)
		}
	}
}
