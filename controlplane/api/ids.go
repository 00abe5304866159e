package api

import (
	"crypto/rand"
	"io"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
)

// ids makes change ids that sort in the order they were made, and above the newest change it is told of: a clock that stands behind the
// one that made earlier changes doesn't reorder history.
type ids struct {
	mu      sync.Mutex
	last    ulid.ULID              // guarded by mu
	entropy *ulid.MonotonicEntropy // guarded by mu
}

func newIDs(entropy io.Reader) *ids {
	if entropy == nil {
		entropy = rand.Reader
	}
	return &ids{entropy: ulid.Monotonic(entropy, 0)}
}

func (g *ids) next(now time.Time, newest string) (string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if n, err := ulid.ParseStrict(newest); err == nil && n.Compare(g.last) > 0 {
		g.last = n
	}
	ms := max(ulid.Timestamp(now), g.last.Time())
	id, err := ulid.New(ms, g.entropy)
	if err == nil && id.Compare(g.last) <= 0 {
		// Same millisecond as an id we didn't make: take the next one.
		id, err = ulid.New(g.last.Time()+1, g.entropy)
	}
	if err != nil {
		return "", err
	}
	g.last = id
	return id.String(), nil
}

// uid makes the identity of a new object.
func (g *ids) uid(now time.Time) (string, error) {
	id, err := ulid.New(ulid.Timestamp(now), rand.Reader)
	return id.String(), err
}
