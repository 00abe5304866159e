package catalogue

import (
	"slices"
	"sync"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/confset"
)

const (
	// mostDrifted bounds the servers of which is remembered that a tool drifted.
	mostDrifted = 10_000
	// tellEvery is how often changes of one tool are told.
	tellEvery = time.Minute
)

// drift remembers which pinned tools aren't what they were, so that each change is told once.
type drift struct {
	tell func(server, tool string, now bool)
	pin  func(server, tool string) string

	mu      sync.Mutex               // held while tell runs: so it hears one change after the other
	servers map[string]*driftedTools // those with such a tool; guarded by mu
}

// driftedTools are those of one server, by its own names.
type driftedTools struct {
	config confset.Hash
	since  time.Duration // when the first walk with that config began
	tools  map[string]sighting
}

// sighting is who saw last that a tool had drifted: a server may show callers different definitions, and what one of them sees as it should
// be doesn't say anything about what another one gets.
type sighting struct {
	view Key
	saw  string // the pin of the definition that was seen
	at   time.Duration

	drifted bool // as of now
	told    bool // what was told last, if anything was, and when
	ever    bool
	toldAt  time.Duration
}

// judge compares a list with the pins of its server, and hides what is to be hidden.
func (c *Catalogue) judge(f *flight, l *List) {
	shape := f.server.Shape
	if f.key.Kind != Tools {
		return
	}
	if shape == nil {
		c.drift.note(f, l) // nothing is pinned any more
		return
	}
	for i := range l.Items {
		it := &l.Items[i]
		if pin := pinned(shape, it.Name); pin != "" && message.Pin(it.Raw) != pin {
			if l.Drifted == nil {
				l.Drifted = make(map[string]struct{})
			}
			l.Drifted[it.Name] = struct{}{}
		}
	}
	c.drift.note(f, l)
	if shape.HideDrifted && l.Drifted != nil {
		l.Items = slices.DeleteFunc(l.Items, func(it message.Item) bool { _, gone := l.Drifted[it.Name]; return gone })
	}
}

// pinned returns the pin of a tool that is shown; empty: none.
func pinned(shape *table.Shape, tool string) string {
	if v, shown := shape.Show(tool); shown {
		return v.Pin
	}
	return ""
}

// note tells what changed with this list. l is still whole.
func (d *drift) note(f *flight, l *List) {
	d.mu.Lock()
	defer d.mu.Unlock()
	known := d.servers[f.server.Name]
	if known == nil && l.Drifted == nil {
		return
	}
	if known == nil {
		known = d.addLocked(f)
	}
	if known.config != f.key.Server {
		if f.began < known.since {
			return // of a config that was replaced while it walked
		}
		known.config, known.since = f.key.Server, f.began
	}
	for tool := range l.Drifted {
		seen := known.tools[tool]
		seen.view, seen.saw, seen.at, seen.drifted = f.key, pinOf(l, tool), f.began, true
		known.tools[tool] = seen
	}
	for tool, seen := range known.tools {
		if _, still := l.Drifted[tool]; seen.drifted && !still && mended(f, l, tool, seen) {
			seen.drifted = false
			known.tools[tool] = seen
		}
	}
	d.tellLocked(f.server.Name, known, f.began)
}

// pinOf is the pin of a tool of a list as it is.
func pinOf(l *List, tool string) string {
	it, _ := l.Find(tool)
	return message.Pin(it.Raw)
}

// settle tells what changed too soon after another change to be told at once, and what the config has made good: the definition that was seen is
// pinned now, or none is. So operators see the end of it without traffic.
func (d *drift) settle(now time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for server, known := range d.servers {
		for tool, seen := range known.tools {
			if !seen.drifted || d.pin == nil {
				continue
			}
			if pin := d.pin(server, tool); pin == "" || pin == seen.saw {
				seen.drifted = false
				known.tools[tool] = seen
			}
		}
		d.tellLocked(server, known, now)
	}
}

// tellLocked tells what isn't yet, and forgets tools that are what they were.
func (d *drift) tellLocked(server string, known *driftedTools, now time.Duration) {
	for tool, seen := range known.tools {
		if seen.ever && now < seen.toldAt+tellEvery {
			continue
		}
		if seen.drifted != seen.told {
			seen.told, seen.ever, seen.toldAt = seen.drifted, true, now
			known.tools[tool] = seen
			d.say(server, tool, seen.told)
		} else if !seen.drifted {
			delete(known.tools, tool)
		}
	}
	if len(known.tools) == 0 {
		delete(d.servers, server)
	}
}

// mended reports whether a tool that isn't among the drifted ones of a list is well again: it is as pinned, isn't pinned any more, or what was
// seen is what is pinned now. A tool that isn't there says nothing. Only who saw the drift sees it go, unless that one doesn't ask any more.
func mended(f *flight, l *List, tool string, seen sighting) bool {
	if pin := pinned(f.server.Shape, tool); pin == "" || pin == seen.saw {
		return true
	}
	view := seen.view
	view.Server = f.key.Server // another config of the server doesn't make another view
	_, there := l.Find(tool)
	return there && (view == f.key || f.began-seen.at > idleAfter)
}

func (d *drift) addLocked(f *flight) *driftedTools {
	if d.servers == nil {
		d.servers = make(map[string]*driftedTools)
	}
	for name := range d.servers {
		if len(d.servers) < mostDrifted {
			break
		}
		delete(d.servers, name)
	}
	known := &driftedTools{config: f.key.Server, since: f.began, tools: make(map[string]sighting)}
	d.servers[f.server.Name] = known
	return known
}

func (d *drift) say(server, tool string, now bool) {
	if d.tell != nil {
		d.tell(server, tool, now)
	}
}
