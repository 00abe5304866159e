package reply

import (
	"sync"
	"time"
)

// beat is a comment of an event stream: parsers skip it, proxies see a stream that lives. No blank line follows it, since some parsers make an
// empty event of that once they have seen an event id.
var beat = []byte(": keep-alive\n")

// gather is up to how much earlier a comment leaves than it has to, as a part of the time between two of them: comments of thousands of streams
// leave together, and don't wake the process each for itself.
const gather = 16

// pulse writes an event stream, and a comment whenever it was quiet for a while. Comments come from a timer's goroutine, so all writes take
// turns. It outlives the pooled Reply that made it, so that a timer which fires late meets a stopped pulse.
type pulse struct {
	every time.Duration // 0: no comments

	mu    sync.Mutex
	sink  Sink        // guarded by mu
	timer *time.Timer // guarded by mu; nil without comments
	ended bool        // guarded by mu
}

func startPulse(sink Sink, every time.Duration) *pulse {
	p := &pulse{sink: sink, every: every}
	if every > 0 {
		p.mu.Lock()
		p.timer = time.AfterFunc(p.pause(), p.beat)
		p.mu.Unlock()
	}
	return p
}

// pause is how long it is from now to the next comment: no longer than agreed, to an instant that streams of the same pace have in common.
func (p *pulse) pause() time.Duration {
	slot := max(p.every/gather, 1)
	return p.every - time.Duration(time.Now().UnixNano())%slot
}

// send writes one event at once.
func (p *pulse) send(event []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, err := p.sink.Write(event)
	if err == nil {
		err = p.sink.Flush()
	}
	if p.timer != nil {
		p.timer.Reset(p.pause())
	}
	return n, err
}

// flush sends what is buffered.
func (p *pulse) flush() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sink.Flush()
}

func (p *pulse) beat() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return
	}
	if _, err := p.sink.Write(beat); err != nil {
		return // the stream's owner learns of it from its own context
	}
	if p.sink.Flush() == nil {
		p.timer.Reset(p.pause())
	}
}

// stop returns when no comment is being written and none will be.
func (p *pulse) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	if p.timer != nil {
		p.timer.Stop()
	}
}
