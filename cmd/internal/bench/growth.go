package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
)

const (
	littleHost = "127.82.0.6"
	largeHost  = "127.82.0.7"
	someHost   = "127.82.0.8"
)

var (
	little = extent{servers: 1, inGroup: 1, tools: manyTools, toolsets: 1, keys: 1}
	// some is what endpoints of several servers are compared with: as many members as in large, and nothing beside.
	some  = extent{servers: 20, inGroup: 20, tools: manyTools, toolsets: 1, keys: 1}
	large = extent{servers: 2000, inGroup: 20, tools: longTools, toolsets: 500, keys: 100000, streams: 2000}
)

// dimensions are what grows, each alone. With nothing more the two gateways are alike: by what their figures differ, no other figure means anything.
var dimensions = []struct {
	name string
	extent
}{
	{"nothing", little},
	{"servers", extent{servers: large.servers, inGroup: large.inGroup, tools: manyTools, toolsets: 1, keys: 1}},
	{"tools", extent{servers: 1, inGroup: 1, tools: large.tools, toolsets: 1, keys: 1}},
	{"toolsets", extent{servers: 1, inGroup: 1, tools: manyTools, toolsets: large.toolsets, keys: 1}},
	{"keys", extent{servers: 1, inGroup: 1, tools: manyTools, toolsets: 1, keys: large.keys}},
	{"streams", extent{servers: 2, inGroup: 2, tools: manyTools, toolsets: 1, keys: 1, streams: large.streams}},
}

// growth is what a call to one server costs when there is much beside it, as a multiple of what it costs when there isn't.
type growth struct {
	// Alone are calls on the server's own path with more of one thing, against one of everything.
	Alone []grown `json:"alone"`
	// Together are calls with more of everything: on the server's own path against one of everything, and within sessions of endpoints of 20
	// servers against those servers and nothing else.
	Together []grown `json:"together"`
}

type grown struct {
	Name string `json:"name"`
	paired
}

// way is a way to a gateway's first server.
type way struct{ name, at, tool string }

var (
	ownPath = way{"own path", "/" + growthServer(0) + "/mcp", "tool_00"}
	several = []way{{"group", "/crowd/mcp", growthServer(0) + "-tool_00"}, {"toolset", "/toolset_000/mcp", "tool_00"},
		{"aggregate", "/mcp", growthServer(0) + "-tool_00"}}
)

// growth measures the same calls against gateways with little and with much config, two at a time.
func (r *rig) growth(ctx context.Context) (g growth, err error) {
	err = r.with(ctx, "little", littleHost, little, func(one *gate) error {
		for _, d := range dimensions {
			if err := r.with(ctx, d.name, largeHost, d.extent, func(much *gate) error {
				return r.compare(ctx, &g.Alone, d.name, d.slices(), ownPath, one, much)
			}); err != nil {
				return err
			}
		}
		return r.with(ctx, "large", largeHost, large, func(much *gate) error {
			if err := r.compare(ctx, &g.Together, ownPath.name, large.slices(), ownPath, one, much); err != nil {
				return err
			}
			return r.with(ctx, "some", someHost, some, func(few *gate) error {
				for _, w := range several {
					if err := r.compare(ctx, &g.Together, w.name, 1, w, few, much); err != nil {
						return err
					}
				}
				return nil
			})
		})
	})
	return g, err
}

// with does something while a gateway of that extent serves and its streams are open.
func (r *rig) with(ctx context.Context, name, host string, e extent, do func(*gate) error) error {
	g := &gate{name: name, binary: r.o.binary, host: host}
	if err := r.startFilled(ctx, g, e); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer r.end(g)
	open, err := r.openStreams(ctx, g, e.streams)
	if err != nil {
		return err
	}
	defer open.close()
	if err := do(g); err != nil {
		return err
	}
	return open.check()
}

// slices is by how much more slices a gateway has to be measured in than -pairs says: one collection of the heap of very many keys costs as much as
// ten slices, so that one more or less of them would decide the outcome.
func (e extent) slices() int {
	if e.keys > 10000 {
		return 3
	}
	return 1
}

// compare makes the same calls to two gateways, in times as many slices as -pairs says.
func (r *rig) compare(ctx context.Context, into *[]grown, name string, times int, w way, base, other *gate) error {
	var sides [2]side
	for i, g := range []*gate{base, other} {
		var err error
		if sides[i], err = r.arrive(ctx, g, w); err != nil {
			return err
		}
	}
	p, err := r.pairUp(ctx, name, times*r.o.pairs, sides[0], sides[1])
	*into = append(*into, grown{Name: name, paired: p})
	return err
}

// arrive has the lists on the way to a gate's first server fetched and makes one call, within a session where there are several servers.
func (r *rig) arrive(ctx context.Context, g *gate, w way) (s side, err error) {
	s = side{gate: g, at: w.at, body: toolCall(w.tool)}
	url := "http://" + g.mcp() + w.at
	if w != ownPath {
		if s.session, err = r.initialize(ctx, url); err != nil {
			return s, err
		}
	}
	if _, b, err := r.request(ctx, url, listBody, s.session); err != nil || !bytes.Contains(b, []byte(`"`+w.tool+`"`)) {
		return s, fmt.Errorf("%s lists (%w) %.300s", url, err, b)
	}
	if _, b, err := r.request(ctx, url, s.body, s.session); err != nil || !bytes.Contains(b, hello) {
		return s, fmt.Errorf("%s answers (%w) %.300s", url, err, b)
	}
	return s, nil
}

func (g *growth) print(w io.Writer) {
	if len(g.Alone) == 0 {
		return
	}
	fmt.Fprintf(w, "a call on the server's own path beside more of one thing, and beside one of everything (%d servers, %d tools in the server's list, "+
		"%d toolsets, %d keys, %d open streams)\n", large.servers, large.tools, large.toolsets, large.keys, large.streams)
	for _, one := range g.Alone {
		fmt.Fprintf(w, "  %-13s %s\n", one.Name, one.paired)
	}
	fmt.Fprintf(w, "with more of everything: on the own path, and through endpoints of %d servers beside those with nothing else\n", large.inGroup)
	for _, one := range g.Together {
		fmt.Fprintf(w, "  %-13s %s\n", one.Name, one.paired)
	}
}
