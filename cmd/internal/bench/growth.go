package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/hopgate/hopgate/cmd/internal/operator"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

const (
	littleHost = "127.82.0.6"
	largeHost  = "127.82.0.7"
)

// extent is how much config a gateway has. The bench's key is granted one access group, in which are the first so many servers.
type extent struct{ servers, inGroup, toolsets, keys int }

var (
	little = extent{servers: 1, inGroup: 1, toolsets: 1, keys: 1}
	large  = extent{servers: 2000, inGroup: 20, toolsets: 500, keys: 100000}
)

// growthLength is how long a round is at most: the whole part takes less than a minute.
const growthLength = time.Second

// growth is what a call to one server costs when there is much beside it: 2,000 servers in groups, one with a list of 5,000 tools, 100,000 keys
// and 500 toolsets, against one server and one key.
type growth struct {
	// Own is a call on the server's own path; Group, Toolset and Aggregate are the same through the paths of 20 servers, within a session of them.
	Own       growing `json:"own_path"`
	Group     growing `json:"group"`
	Toolset   growing `json:"toolset"`
	Aggregate growing `json:"aggregate"`
	// Fill is how long it took to write the large config, and Ready how long a data plane took to serve it.
	Fill  float64 `json:"fill_s"`
	Ready float64 `json:"ready_s"`
}

// growing is one path with little and with much config.
type growing struct {
	Little      summary `json:"little"`
	Large       summary `json:"large"`
	TimesCPU    float64 `json:"cpu_times"`
	TimesP50    float64 `json:"p50_times"`
	AddedAllocs float64 `json:"added_allocs"`
}

// growth measures the same calls against two more gateways, with little and with much config.
func (r *rig) growth(ctx context.Context) (g growth, err error) {
	var paths []path
	for _, s := range []struct {
		name, host string
		extent
	}{{"little", littleHost, little}, {"large", largeHost, large}} {
		gate := &gate{name: s.name, binary: r.o.binary, host: s.host}
		if g.Fill, g.Ready, err = r.startFilled(ctx, gate, s.extent); err != nil {
			return g, err
		}
		of, err := r.growthPaths(ctx, gate)
		if err != nil {
			return g, err
		}
		paths = append(paths, of...)
	}
	defer func(length time.Duration) { r.o.length = length }(r.o.length)
	r.o.length = min(r.o.length, growthLength)
	rounds, err := r.interleave(ctx, paths)
	if err != nil {
		return g, err
	}
	for way, into := range g.ways() {
		into.sum(rounds, way)
	}
	return g, nil
}

func (g *growth) ways() map[string]*growing {
	return map[string]*growing{"own path": &g.Own, "group": &g.Group, "toolset": &g.Toolset, "aggregate": &g.Aggregate}
}

func (g *growing) sum(rounds []round, way string) {
	g.Little, g.Large = medians("little: "+way, rounds), medians("large: "+way, rounds)
	g.TimesCPU, g.TimesP50, g.AddedAllocs = ratio(g.Large.CPU, g.Little.CPU), ratio(g.Large.P50, g.Little.P50), g.Large.Allocs-g.Little.Allocs
}

// growthPaths are the ways to a gate's first server, after its list was fetched.
func (r *rig) growthPaths(ctx context.Context, g *gate) (out []path, err error) {
	base := "http://" + g.mcp()
	if _, _, err := r.request(ctx, base+"/"+growthServer(0)+"/mcp", listBody, ""); err != nil {
		return nil, err
	}
	own, whole := "/"+growthServer(0)+"/mcp", growthServer(0)+"-tool_00"
	for _, p := range []struct{ name, at, tool string }{{"own path", own, "tool_00"}, {"group", "/crowd/mcp", whole},
		{"toolset", "/toolset_000/mcp", "tool_00"}, {"aggregate", "/mcp", whole}} {
		session := ""
		if p.at != own {
			if session, err = r.initialize(ctx, base+p.at); err != nil {
				return nil, err
			}
			if _, b, err := r.request(ctx, base+p.at, listBody, session); err != nil || !bytes.Contains(b, []byte(`"`+p.tool+`"`)) {
				return nil, fmt.Errorf("%s lists (%w) %.300s", p.at, err, b)
			}
		}
		if _, b, err := r.request(ctx, base+p.at, toolCall(p.tool), session); err != nil || !bytes.Contains(b, []byte(`"text":"hello"`)) {
			return nil, fmt.Errorf("%s answers (%w) %.300s", p.at, err, b)
		}
		made, err := r.post(g.name+": "+p.name, base+p.at, g, toolCall(p.tool), session)
		if err != nil {
			return nil, err
		}
		out = append(out, made)
	}
	return out, nil
}

// startFilled starts a gateway whose data plane finds all of the config there.
func (r *rig) startFilled(ctx context.Context, g *gate, e extent) (fill, ready float64, err error) {
	if err := r.startControl(ctx, g); err != nil {
		return 0, 0, err
	}
	api, err := operator.Connect(operator.Access{API: "http://" + g.admin(), Key: r.key})
	if err != nil {
		return 0, 0, err
	}
	defer api.Close() //nolint:errcheck // only read from now on
	began := time.Now()
	if err := r.fill(ctx, api, e); err != nil {
		return 0, 0, fmt.Errorf("fill: %w", err)
	}
	fill, began = time.Since(began).Seconds(), time.Now()
	if err := r.startProxy(ctx, g); err != nil {
		return 0, 0, err
	}
	err = poll(ctx, g.name+" config", func() error {
		_, _, err := r.request(ctx, "http://"+g.mcp()+"/"+growthServer(0)+"/mcp", toolCall("tool_00"), "")
		return err
	})
	return fill, time.Since(began).Seconds(), err
}

// perChange is how many objects an embedded store takes at once.
const perChange = 1000

// fill writes a config in as many changes as it needs.
func (r *rig) fill(ctx context.Context, api adminv1.AdminServiceClient, e extent) error {
	var batch []*adminv1.Object
	flush := func() error {
		_, err := api.CreateChange(ctx, &adminv1.CreateChangeRequest{Objects: batch})
		batch = nil
		return err
	}
	for i := range e.servers + e.toolsets + e.keys {
		switch {
		case i < e.servers:
			batch = append(batch, growthObject(i, e))
		case i < e.servers+e.toolsets:
			batch = append(batch, growthToolset(i-e.servers, e))
		default:
			batch = append(batch, r.growthKey(i-e.servers-e.toolsets, e))
		}
		if len(batch) == perChange {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

func growthServer(i int) string { return fmt.Sprintf("server_%04d", i) }

func growthObject(i int, e extent) *adminv1.Object {
	path, groups := growthServer(i), []string{fmt.Sprintf("group_%02d", i%100)}
	if i < e.inGroup {
		groups = append(groups, "crowd")
	}
	if i == 0 && e.servers > 1 {
		path = longPath
	}
	at := []*configv1.Endpoint{{Url: "http://" + upstreamAddr + "/many/" + path}}
	spec := &configv1.ServerSpec{Endpoints: at, AccessGroups: groups, ListTtl: "10m"}
	return &adminv1.Object{Object: &adminv1.Object_Server{Server: &configv1.Server{Name: growthServer(i), Spec: spec}}}
}

func growthToolset(i int, e extent) *adminv1.Object {
	spec := &configv1.ToolsetSpec{}
	for j := range 20 {
		spec.Tools = append(spec.Tools, &configv1.ToolsetTool{Server: growthServer((i + j) % e.servers), Tool: fmt.Sprintf("tool_%02d", j)})
	}
	return &adminv1.Object{Object: &adminv1.Object_Toolset{Toolset: &configv1.Toolset{Name: fmt.Sprintf("toolset_%03d", i), Spec: spec}}}
}

// growthKey is the bench's own key for 0; the others have grants of all kinds.
func (r *rig) growthKey(i int, e extent) *adminv1.Object {
	spec := &configv1.ApiKeySpec{Sha256: sha256Hex(r.key), Groups: []string{"crowd"}}
	if i > 0 {
		sum := sha256.Sum256(fmt.Appendf(nil, "growth %d", i))
		spec = &configv1.ApiKeySpec{Sha256: hex.EncodeToString(sum[:]), Servers: []string{growthServer(i % e.servers)},
			Groups: []string{fmt.Sprintf("group_%02d", i%100)}, Toolsets: []string{fmt.Sprintf("toolset_%03d", i%e.toolsets)}}
	}
	return &adminv1.Object{Object: &adminv1.Object_Apikey{Apikey: &configv1.ApiKey{Name: fmt.Sprintf("key_%06d", i), Spec: spec}}}
}

func (g *growth) print(w io.Writer) {
	if g.Own.Large.Path == "" {
		return
	}
	fmt.Fprintf(w, "calls with %d servers, %d tools in the server's list, %d keys and %d toolsets, beside one server and one key "+
		"(config written in %.1f s, served after %.1f s)\n",
		large.servers, longTools, large.keys, large.toolsets, g.Fill, g.Ready)
	for _, v := range []*growing{&g.Own, &g.Group, &g.Toolset, &g.Aggregate} {
		_, way, _ := strings.Cut(v.Large.Path, ": ")
		fmt.Fprintf(w, "  %-10s CPU %.3f x, p50 %.3f x, %+.2f allocations; %.1f and %.1f us, spread %.0f and %.0f %% in %d and %d rounds\n",
			way, v.TimesCPU, v.TimesP50, v.AddedAllocs, v.Large.CPU, v.Little.CPU, v.Large.SpreadCPU*100, v.Little.SpreadCPU*100, v.Large.Rounds, v.Little.Rounds)
	}
}
