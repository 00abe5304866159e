package mcptest

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// Call is one call that a Rich server does something for.
type Call struct {
	Message
	// Request it came with; its body was read.
	Request *http.Request

	visit  *visit
	number int    // of the stream it is answered by; 0: JSON
	answer string // the message that ends it
}

// Send says something beside the answer: on the call's own stream, or on the standalone one.
func (c *Call) Send(data string) { c.visit.append(c.number, data, false) }

// Ask sends a request to the client and returns the client's answer to it, the whole message; "" if the session or the call ended before.
func (c *Call) Ask(id, method, params string) string {
	came := c.visit.expect(id)
	c.Send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":%q,"params":%s}`, id, method, params))
	select {
	case a := <-came:
		return a
	case <-c.visit.ended:
	case <-c.Request.Context().Done():
	}
	return ""
}

// Answer ends the call with a result.
func (c *Call) Answer(result string) { c.answer = Answer(c.Message, result) }

// Cut breaks the stream the call is answered by; the call goes on, and the rest is had by resuming.
func (c *Call) Cut() { c.visit.cut() }

// Cancelled is closed when the client cancels the call by a notification.
func (c *Call) Cancelled() <-chan struct{} {
	came, done := c.visit.expect("cancel "+string(c.ID)), make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-came:
		case <-c.visit.ended:
		}
	}()
	return done
}

// visit is what a Rich server keeps of one session, or of one request without.
type visit struct {
	ended chan struct{}
	quit  func()

	mu      sync.Mutex
	streams int                    // opened so far, beside the standalone one; guarded by mu
	said    []saying               // guarded by mu
	heard   int                    // of said, by the standalone stream; guarded by mu
	cuts    chan struct{}          // closed to break streams; guarded by mu
	more    chan struct{}          // closed when something is said; guarded by mu
	waiting map[string]chan string // by raw id; guarded by mu
}

type saying struct {
	stream int
	data   string
	last   bool
}

func newVisit() *visit {
	v := &visit{ended: make(chan struct{}), cuts: make(chan struct{}), more: make(chan struct{}), waiting: map[string]chan string{}}
	v.quit = sync.OnceFunc(func() { close(v.ended) })
	return v
}

func (v *visit) end() { v.quit() }

func (v *visit) cut() {
	v.mu.Lock()
	defer v.mu.Unlock()
	close(v.cuts)
	v.cuts = make(chan struct{})
}

func (v *visit) open() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.streams++
	return v.streams
}

func (v *visit) append(stream int, data string, last bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.said = append(v.said, saying{stream, data, last})
	close(v.more)
	v.more = make(chan struct{})
}

func (v *visit) expect(id string) chan string {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.waiting[id] == nil {
		v.waiting[id] = make(chan string, 1)
	}
	return v.waiting[id]
}

// take hands on an answer or a cancellation to who waits for it.
func (v *visit) take(m Message) {
	key := string(m.ID)
	if m.Method == "notifications/cancelled" {
		key = "cancel " + string(member(m.Params, "requestId"))
	} else if m.Method != "" {
		return
	}
	select {
	case v.expect(key) <- m.Raw:
	default: // a second one
	}
}

// stream answers GET: the standalone stream, or what follows an event.
func (v *visit) stream(w http.ResponseWriter, r *http.Request, ids bool) {
	var stream, from int
	if last := r.Header.Get("Last-Event-Id"); last != "" {
		number, place, _ := strings.Cut(last, "-")
		stream, _ = strconv.Atoi(number) //nolint:errcheck // an id of ours
		from, _ = strconv.Atoi(place)    //nolint:errcheck // an id of ours
	} else {
		v.mu.Lock()
		from = v.heard
		v.mu.Unlock()
	}
	v.follow(w, r, ids, stream, from)
}

// follow writes what is said on a stream from a place on, until it ends or is cut.
func (v *visit) follow(w http.ResponseWriter, r *http.Request, ids bool, stream, from int) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	w.(http.Flusher).Flush() //nolint:forcetypeassert // net/http's writers all flush
	v.mu.Lock()
	cuts := v.cuts
	v.mu.Unlock()
	for {
		v.mu.Lock()
		more, said := v.more, v.said[from:]
		if stream == 0 {
			v.heard = len(v.said)
		}
		v.mu.Unlock()
		for _, s := range said {
			select {
			case <-cuts: // what was said after it was cut isn't heard
				panic(http.ErrAbortHandler)
			default:
			}
			from++
			if s.stream != stream {
				continue
			}
			id := ""
			if ids {
				id = fmt.Sprintf("%d-%d", stream, from)
			}
			Event(w, id, s.data)
			if s.last {
				return
			}
		}
		select {
		case <-more:
		case <-cuts:
			panic(http.ErrAbortHandler)
		case <-v.ended:
			return
		case <-r.Context().Done():
			return
		}
	}
}
