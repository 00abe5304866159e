package sse

import (
	"math/rand/v2"
	"net/http"
	"time"
)

// hear opens the server's own stream of the session, once; its events go out on this one.
func (st *stream) hear() {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.hearing || st.ended {
		return
	}
	st.hearing = true
	st.working.Add(1)
	go func() {
		defer st.working.Done()
		defer st.recovered()
		for pause := firstPause; st.listen() && st.wait(pause); pause = min(2*pause, longestPause) {
		}
	}()
}

// listen relays the server's own stream until it ends. It reports whether there was one: most servers have none, and say 405.
func (st *stream) listen() bool {
	c := st.capture()
	defer c.Release()
	c.Event = st.relay
	st.handler.Serve(st.inbound(st.ctx, st.in, http.MethodGet, nil), c)
	streamed, _ := c.Streamed()
	return streamed
}

// wait lets about a pause go by.
func (st *stream) wait(pause time.Duration) bool {
	t := time.NewTimer(pause/2 + rand.N(pause)) //nolint:gosec // jitter
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-st.ctx.Done():
		return false
	}
}
