package gather

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/hopgate/hopgate/proto/fault"
)

// Events is one server's event stream. One goroutine uses it at a time.
type Events interface {
	// NextEvent appends the next server-sent event to dst; one above limit bytes (0: the stream's own limit) is an error. It must fail soon
	// after the context ended that the stream was opened with.
	NextEvent(dst []byte, limit int64) ([]byte, error)
	// Close ends the stream.
	Close()
}

// What Next tells beside events.
var (
	// ErrGap: the server's stream stands again, or for the first time after it didn't at first. What the server told meanwhile is lost,
	// unless open had it resumed.
	ErrGap = errors.New("the stream of a server was interrupted")
	// ErrQuiet: nothing came within the time.
	ErrQuiet = errors.New("no event came")
	// ErrClosed: the funnel is closed, or its context ended.
	ErrClosed = errors.New("the funnel is closed")
)

const (
	// minRest and maxRest bound how long a stream that ended, or couldn't be opened, rests before it is opened again. It rests longer with
	// each attempt that brought nothing, and up to half as long again by chance, so that not all come at once.
	minRest = time.Second
	maxRest = 20 * time.Second
	// steady is how long a stream stands that isn't taken for one that ends at once.
	steady = 30 * time.Second
	// keptBuffer is up to which size a reader keeps its buffer after an event.
	keptBuffer = 64 << 10
)

// Funnel makes one stream out of those of several servers. Each server has one goroutine, which has at most one event in memory, and reads
// the next one only when this one was taken and done with: a slow caller slows the servers down. Who waits longest is next, so that a server
// that floods gets its turn and no more.
type Funnel struct {
	// EventLimit bounds an event, in bytes; 0: the streams' own limit. Failed, unless nil, is told why a stream ended (io.EOF: in good
	// order) or couldn't be opened, from the goroutine of that server. Both are set before the first Add.
	EventLimit int64
	Failed     func(server string, err error)

	ctx     context.Context
	stop    context.CancelFunc
	out     chan handed
	taken   chan<- struct{} // of the event that Next's caller has
	mu      sync.Mutex
	closed  bool // guarded by mu
	readers sync.WaitGroup
}

// handed is what a reader gives to Next.
type handed struct {
	server string
	event  []byte
	gap    bool
	taken  chan<- struct{} // tells the reader that it may use the event's buffer again
}

// NewFunnel returns a funnel without streams, which lives as long as ctx. Close it.
func NewFunnel(ctx context.Context) *Funnel {
	ctx, stop := context.WithCancel(ctx)
	return &Funnel{ctx: ctx, stop: stop, out: make(chan handed)}
}

// Add lets a server's events come, too. open is called at once, and again whenever the stream has ended, with rests between; its context ends
// with the funnel. When it fails with errors.ErrUnsupported, or a fault that says that the server has no such stream or that the session is
// gone, the server is left alone for good, and nothing is told. Safe for concurrent use.
func (f *Funnel) Add(server string, open func(ctx context.Context) (Events, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	r := &reader{f: f, server: server, open: open, taken: make(chan struct{}, 1)}
	f.readers.Go(r.run)
}

// Next waits for the next event of any server. With ErrGap there is a server and no event; ErrClosed is the end. The event is valid until the
// next use of Next or NextWithin. One goroutine uses these two.
func (f *Funnel) Next() (server string, event []byte, err error) { return f.next(nil) }

// NextWithin is Next that gives up with ErrQuiet when nothing came for so long.
func (f *Funnel) NextWithin(d time.Duration) (server string, event []byte, err error) {
	quiet := time.NewTimer(d)
	defer quiet.Stop()
	return f.next(quiet.C)
}

func (f *Funnel) next(quiet <-chan time.Time) (server string, event []byte, err error) {
	if f.taken != nil {
		f.taken <- struct{}{} // has room
		f.taken = nil
	}
	if f.ctx.Err() != nil {
		return "", nil, ErrClosed
	}
	select {
	case h := <-f.out:
		f.taken = h.taken
		if h.gap {
			return h.server, nil, ErrGap
		}
		return h.server, h.event, nil
	case <-quiet:
		return "", nil, ErrQuiet
	case <-f.ctx.Done():
		return "", nil, ErrClosed
	}
}

// Close ends all streams and returns when their goroutines have ended. The event that Next gave last stays valid.
func (f *Funnel) Close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.stop()
	f.readers.Wait()
}

// reader is the goroutine of one server.
type reader struct {
	f      *Funnel
	server string
	open   func(ctx context.Context) (Events, error)
	taken  chan struct{}
	buf    []byte
	missed bool // there was a time without a stream
	idle   int  // attempts in a row that brought nothing
}

func (r *reader) run() {
	for r.f.ctx.Err() == nil {
		began := time.Now()
		fruitful, err := r.stream()
		if r.f.ctx.Err() != nil {
			return
		}
		if ForGood(err) {
			return
		}
		if r.f.Failed != nil {
			r.f.Failed(r.server, err)
		}
		if fruitful || time.Since(began) >= steady {
			r.idle = 0
		}
		r.missed = true
		r.rest()
		r.idle++
	}
}

// ForGood reports whether err says that there is no use in opening a stream again: a Funnel then doesn't.
func ForGood(err error) bool {
	if errors.Is(err, errors.ErrUnsupported) {
		return true
	}
	f := fault.As(err)
	return f != nil && (f.Kind == fault.Unsupported || f.Hop == fault.Upstream && f.Phase == fault.Session)
}

// stream opens the stream and passes on what comes until it ends. fruitful says whether anything came.
func (r *reader) stream() (fruitful bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	s, err := r.open(r.f.ctx)
	if err != nil {
		return false, err
	}
	defer s.Close()
	if r.missed && !r.hand(handed{server: r.server, gap: true, taken: r.taken}) {
		return false, nil
	}
	r.missed = false
	for {
		if r.buf, err = s.NextEvent(r.buf[:0], r.f.EventLimit); err != nil {
			return fruitful, err
		}
		fruitful = true
		if !r.hand(handed{server: r.server, event: r.buf, taken: r.taken}) {
			r.buf = nil
			return fruitful, nil
		}
		if cap(r.buf) > keptBuffer {
			r.buf = nil
		}
	}
}

// hand gives something to Next and waits until it was done with. Senders on a channel are served in the order in which they came. It returns
// false at the end of the funnel.
func (r *reader) hand(h handed) bool {
	select {
	case r.f.out <- h:
	case <-r.f.ctx.Done():
		return false
	}
	select {
	case <-r.taken:
		return true
	case <-r.f.ctx.Done():
		return false
	}
}

// rest waits before the stream is opened again.
func (r *reader) rest() {
	d := min(minRest<<min(r.idle, 10), maxRest)
	timer := time.NewTimer(d + rand.N(d/2))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.f.ctx.Done():
	}
}
