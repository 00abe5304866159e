package netlab

import (
	"context"
	"io"
	"math/rand/v2"
	"sync"
	"time"
)

// wire is one direction of a link: a queue with a clock, that ends at a site's tunnel.
type wire struct {
	to   io.Writer
	wake chan struct{} // holds one: something was pushed

	mu         sync.Mutex
	queue      queue
	conditions Conditions
}

func newWire(to io.Writer) *wire { return &wire{to: to, wake: make(chan struct{}, 1)} }

func (w *wire) push(data []byte) {
	w.mu.Lock()
	w.queue.push(time.Now(), data, w.conditions, rand.Float64(), rand.Float64())
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default: // run will look anyway
	}
}

func (w *wire) set(c Conditions) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conditions = c
}

func (w *wire) sever(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue.sever(cut)
}

func (w *wire) traffic() Traffic {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.queue.traffic
}

// take gives what is due now, and when there is nothing, how long it will be until there is; forever is a negative wait.
func (w *wire) take() (data []byte, wait time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if data, ok := w.queue.pop(now); ok {
		return data, 0
	}
	if due, ok := w.queue.next(); ok {
		return nil, due.Sub(now)
	}
	return nil, -1
}

// run hands packets to the site until ctx ends. A tunnel whose queue is full loses packets, as an interface does.
func (w *wire) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		data, wait := w.take()
		if data != nil {
			w.to.Write(data) //nolint:errcheck // lost on the way
			continue
		}
		var due <-chan time.Time
		if wait >= 0 {
			timer.Reset(wait)
			due = timer.C
		}
		select {
		case <-ctx.Done():
			return
		case <-due:
		case <-w.wake:
		}
	}
}
