package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// many is what endpoints of several servers cost.
type many struct {
	// Calls on a server's own path, and the same through the aggregate; with sessions, Kept. Over one connection.
	One           summary `json:"one"`
	Aggregate     summary `json:"aggregate"`
	OneKept       summary `json:"one_with_session"`
	AggregateKept summary `json:"aggregate_with_session"`
	AddedP50      float64 `json:"added_p50_us"`
	AddedP50Kept  float64 `json:"added_p50_us_with_session"`
	TimesOne      float64 `json:"cpu_times_one"`
	TimesOneKept  float64 `json:"cpu_times_one_with_session"`
	// List is that of 20 servers with 50 tools of 500 bytes each, from memory, over one connection.
	List      summary `json:"list"`
	ListBytes int     `json:"list_bytes"`
	// Calls to one server, alone and while five that fail are listed again and again.
	Calm         summary `json:"calm"`
	Storm        summary `json:"storm"`
	TimesCalm    float64 `json:"cpu_times_calm"`
	TimesCalmP99 float64 `json:"p99_times_calm"`
	// Lists is how many of these were answered meanwhile, in ListsP50 (ms).
	Lists    int     `json:"storm_lists"`
	ListsP50 float64 `json:"storm_lists_p50_ms"`
}

const listLimit = 300 * time.Millisecond

// manyObjects are twenty servers, of which one keeps sessions, and five that fail.
func manyObjects() string {
	var b strings.Builder
	for i := range manyServers {
		name := fmt.Sprintf("many_%02d", i)
		if i == manyServers-1 {
			name = "keeper"
		}
		fmt.Fprintf(&b, "---\nkind: Server\nname: %s\nspec: {access_groups: [many], list_ttl: 10m, endpoints: [{url: \"http://%%[1]s/many/%s\"}]}\n", name, name)
	}
	for _, name := range []string{"stuck", "garbled", "mute", "dripping"} {
		fmt.Fprintf(&b, "---\nkind: Server\nname: %s\nspec: {access_groups: [bad], timeouts: {list: %s}, endpoints: [{url: \"http://%%[1]s/bad/%s\"}]}\n", name, listLimit, name)
	}
	fmt.Fprintf(&b, "---\nkind: Server\nname: refusing\nspec: {access_groups: [bad], timeouts: {list: %s}, endpoints: [{url: \"http://127.82.0.9:9/mcp\"}]}\n", listLimit)
	return b.String()
}

func toolCall(name string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":%q,"arguments":{"message":"hello"}}}`, name)
}

const listBody = `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}`

// many measures endpoints of several servers.
func (r *rig) many(ctx context.Context) (many, error) {
	var m many
	base := "http://" + r.gate.mcp()
	sessions := map[string]string{}
	for _, path := range []string{"/mcp", "/many/mcp", "/keeper/mcp"} {
		var err error
		if sessions[path], err = r.initialize(ctx, base+path); err != nil {
			return m, err
		}
	}
	var err error
	if m.ListBytes, err = r.warm(ctx, base+"/many/mcp", sessions["/many/mcp"]); err != nil {
		return m, err
	}
	var paths []path
	for _, p := range []struct{ name, url, body string }{
		{"one", "/many_07/mcp", toolCall("tool_03")}, {"aggregate", "/mcp", toolCall("many_07-tool_03")},
		{"one with session", "/keeper/mcp", toolCall("tool_03")}, {"aggregate with session", "/mcp", toolCall("keeper-tool_03")},
		{"list", "/many/mcp", listBody}, {"calm", "/fast/mcp", callBody}, {"storm", "/fast/mcp", callBody},
	} {
		made, err := r.post(p.name, base+p.url, &r.gate, p.body, sessions[p.url])
		if err != nil {
			return m, err
		}
		paths = append(paths, made)
	}
	storm := &storm{rig: r, url: base + "/many,bad/mcp"}
	for i := range 5 {
		paths[i].connections = 1 // what they add is looked for, not how much fits through
	}
	paths[6].beside = storm.begin
	rounds, err := r.interleave(ctx, paths)
	if err == nil {
		m.sum(rounds, storm)
		err = storm.err
	}
	return m, err
}

func (m *many) sum(rounds []round, s *storm) {
	for name, into := range map[string]*summary{"one": &m.One, "aggregate": &m.Aggregate, "one with session": &m.OneKept,
		"aggregate with session": &m.AggregateKept, "list": &m.List, "calm": &m.Calm, "storm": &m.Storm} {
		*into = medians(name, rounds)
	}
	m.AddedP50, m.TimesOne = m.Aggregate.P50-m.One.P50, ratio(m.Aggregate.CPU, m.One.CPU)
	m.AddedP50Kept, m.TimesOneKept = m.AggregateKept.P50-m.OneKept.P50, ratio(m.AggregateKept.CPU, m.OneKept.CPU)
	m.TimesCalm, m.TimesCalmP99 = ratio(m.Storm.CPU, m.Calm.CPU), ratio(m.Storm.P99, m.Calm.P99)
	m.Lists, m.ListsP50 = len(s.took), median(s.took)
}

func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

// request makes one request of ours to url, and returns the session that came with the answer, if there was one.
func (r *rig) request(ctx context.Context, url, body, session string) (began string, answer []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return "", nil, err
	}
	for k, v := range callHeaders(r.key) {
		req.Header.Set(k, v)
	}
	if session != "" {
		req.Header.Set("Mcp-Session-Id", session)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", nil, err
	}
	defer res.Body.Close() //nolint:errcheck // read only
	b, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode/100 != 2 {
		err = fmt.Errorf("%s answered %d %s", url, res.StatusCode, b)
	}
	return res.Header.Get("Mcp-Session-Id"), b, err
}

func (r *rig) initialize(ctx context.Context, url string) (session string, err error) {
	const hello = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}`
	session, b, err := r.request(ctx, url, hello, "")
	if err != nil {
		return "", err
	}
	if session == "" {
		return "", fmt.Errorf("%s gave no session: %s", url, b)
	}
	_, _, err = r.request(ctx, url, `{"jsonrpc":"2.0","method":"notifications/initialized"}`, session)
	return session, err
}

// warm has all lists fetched, and says how large the list of all is.
func (r *rig) warm(ctx context.Context, url, session string) (size int, err error) {
	var b []byte
	for range 3 {
		if _, b, err = r.request(ctx, url, listBody, session); err != nil {
			return 0, err
		}
	}
	var answer struct {
		Result struct{ Tools []json.RawMessage }
	}
	if err := json.Unmarshal(b, &answer); err != nil || len(answer.Result.Tools) != manyServers*manyTools {
		return 0, fmt.Errorf("%s lists %d tools (%w): %.300s", url, len(answer.Result.Tools), err, b)
	}
	return len(b), nil
}

// storm lists twenty servers that work and five that don't, again and again: as often as a list took if each waited for the slowest of them. What
// fails is remembered, so lists are quick, and as many as there can be would only measure lists.
type storm struct {
	rig  *rig
	url  string
	took []float64 // ms
	err  error
}

func (s *storm) begin(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	over := make(chan struct{})
	go func() {
		defer close(over)
		pace := time.NewTicker(listLimit)
		defer pace.Stop()
		for ; ctx.Err() == nil; <-pace.C {
			began := time.Now()
			_, b, err := s.rig.request(ctx, s.url, listBody, "")
			switch {
			case ctx.Err() != nil:
			case err != nil:
				s.err = err
				return
			case strings.Count(string(b), `"status":"ok"`) != 2*manyServers:
				s.err = fmt.Errorf("the list says of the servers: %.2000s", b[max(0, len(b)-2000):])
				return
			default:
				s.took = append(s.took, ms(time.Since(began)))
			}
		}
	}()
	return func() { cancel(); <-over }
}

func (m *many) print(w io.Writer) {
	if m.One.Path == "" {
		return
	}
	fmt.Fprintf(w, "a call through the aggregate of %d servers, one connection, beside the server's own path: p50 %+.0f us, CPU %.3f x, %+.1f allocations; with sessions p50 %+.0f us, CPU %.3f x, %+.1f allocations\n",
		manyServers, m.AddedP50, m.TimesOne, m.Aggregate.Allocs-m.One.Allocs, m.AddedP50Kept, m.TimesOneKept, m.AggregateKept.Allocs-m.OneKept.Allocs)
	fmt.Fprintf(w, "list of %d servers x %d tools from memory, %d KiB, one connection: p50 %.2f ms p99 %.2f ms, CPU %.2f ms\n",
		manyServers, manyTools, m.ListBytes>>10, m.List.P50/1000, m.List.P99/1000, m.List.CPU/1000)
	fmt.Fprintf(w, "calls while five servers that fail are listed: CPU %.3f x, p99 %.2f x (%.0f and %.0f us); %d lists, p50 %.0f ms, of which their servers have %.0f\n",
		m.TimesCalm, m.TimesCalmP99, m.Storm.P99, m.Calm.P99, m.Lists, m.ListsP50, ms(listLimit))
	for _, s := range []*summary{&m.One, &m.Aggregate, &m.OneKept, &m.AggregateKept, &m.List, &m.Calm, &m.Storm} {
		fmt.Fprintf(w, "  %-22s %2d rounds  p50 %6.0f us  p99 %6.0f us  cpu/request %6.1f us, spread %.0f %%\n", s.Path, s.Rounds, s.P50, s.P99, s.CPU, s.SpreadCPU*100)
	}
}
