package hop

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/hop/balance"
	"github.com/hopgate/hopgate/dataplane/request/hop/credential"
	"github.com/hopgate/hopgate/dataplane/request/hop/transport"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
)

const (
	probesAtOnce  = 32
	probeTick     = 250 * time.Millisecond // how late a due probe may be
	scanEvery     = 4                      // ticks between two looks at all servers
	probeTimeout  = 5 * time.Second        // of a server that doesn't say
	answerOfProbe = 64 << 10
)

// Attach finds the credential of calls to a server that are nobody's: the server's own. errors.ErrUnsupported: it is the caller's own, or there
// is nothing to be had without one; then the probe goes without, and being refused counts as living.
type Attach func(ctx context.Context, s *table.Server) ([]credential.Field, error)

// prober asks instances whether they live. One goroutine owns it.
type prober struct {
	hop     *Hop
	servers func() []*table.Server
	attach  Attach

	due    map[string]time.Time // by server: when its instances are asked next
	opened int64                // breakers that had opened at the last look
	open   bool                 // some were still open then
	places chan struct{}
	probes sync.WaitGroup
}

// RunHealth asks instances whether they live, until ctx ends and all probes have: those of servers with a HealthInterval each time it is over,
// jittered, and those with an open breaker when its time is over. servers are all there are; attach is called for each probe. A probe is
// server/discover or, for servers that don't speak 2026-07-28, ping without a session: neither changes anything. An HTTP answer below 500
// counts as living. What server/discover says about the server's era is learned. While RunHealth runs, calls don't find out themselves whether
// a broken instance is back, unless a probe can't tell. Call it once at a time.
func (h *Hop) RunHealth(ctx context.Context, servers func() []*table.Server, attach Attach) error {
	h.balance.Probed(true)
	defer h.balance.Probed(false)
	p := &prober{hop: h, servers: servers, attach: attach, due: map[string]time.Time{}, opened: -1, places: make(chan struct{}, probesAtOnce)}
	defer p.probes.Wait()
	tick := time.NewTicker(probeTick)
	defer tick.Stop()
	for n := 0; ; n++ {
		if n%scanEvery == 0 {
			p.scan(ctx, time.Now())
		}
		p.revisit(ctx, time.Now())
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// scan probes the servers whose interval is over. The first probe of a server comes at a time of chance within it.
func (p *prober) scan(ctx context.Context, now time.Time) {
	p.hop.balance.Sweep()
	due := make(map[string]time.Time, len(p.due))
	for _, s := range p.servers() {
		if v := p.hop.balance.Peek(s); p.open && v != nil {
			v.Keep()
		}
		every := s.Resilience.HealthInterval
		if every <= 0 || s.Target == nil && len(s.Instances) == 0 {
			continue
		}
		at, ok := p.due[s.Name]
		if !ok {
			at = now.Add(rand.N(every))
		}
		if !at.After(now) {
			if p.start(ctx, p.hop.balance.Of(s).Probes(now, true)) {
				at = now.Add(every*9/10 + rand.N(every/5+1))
			}
		}
		due[s.Name] = at
	}
	p.due = due
}

// revisit probes the instances whose breaker's time is over.
func (p *prober) revisit(ctx context.Context, now time.Time) {
	opened := p.hop.balance.Opened()
	if !p.open && opened == p.opened {
		return
	}
	p.opened, p.open = opened, false
	for _, v := range p.hop.balance.Servers() {
		p.open = true
		p.start(ctx, v.Probes(now, false))
	}
}

// start makes probes as long as there are places, and reports whether there were enough.
func (p *prober) start(ctx context.Context, leases []balance.Lease) (all bool) {
	all = true
	for i := range leases {
		l := leases[i]
		select {
		case p.places <- struct{}{}:
			p.probes.Go(func() {
				defer func() { <-p.places }()
				l.Conclude(p.hop.probe(ctx, &l, p.attach))
			})
		default:
			l.Postpone()
			all = false
		}
	}
	return all
}

// probe asks one instance.
func (h *Hop) probe(ctx context.Context, l *balance.Lease, attach Attach) balance.Verdict {
	s := l.Server()
	limit := s.Resilience.HealthTimeout
	if limit <= 0 {
		limit = probeTimeout
	}
	within, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	fields, err := attach(within, s)
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return balance.Nothing // an authorization server's trouble isn't this one's
	}
	now := time.Now()
	c := h.question(s, now)
	c.Credential = fields
	if c.attachable() != nil {
		return balance.Nothing
	}
	res, err := h.client.Do(within, l.Target, &transport.Request{Method: c.Method, Fields: h.appendFields(nil, c), Body: c.Body, Timeouts: s.Timeouts,
		ResultLimit: answerOfProbe, EventLimit: answerOfProbe}, nil)
	if err != nil {
		l.Blame(err)
		return judged(ctx, err)
	}
	a := Answer{Status: res.Status, Header: res.Header, Type: res.ContentType(), Body: res}
	defer a.Close()
	if body, err := wholeAnswer(&a, s.Name, answerOfProbe); err == nil {
		h.Learn(s, c.MCPMethod, a.Status, body, now)
	}
	if a.Status == http.StatusNotImplemented { // of another era than the question
		return balance.Alive
	}
	if a.Status >= http.StatusInternalServerError && (s.Transport != "sse" || gatewayStatus(a.Status)) { // nothing is POSTed to the URL of a stream
		l.Blame(unwell(a.Status))
		return balance.Failed
	}
	return balance.Alive
}

func unwell(status int) *fault.Error {
	return &fault.Error{Hop: fault.Upstream, Phase: fault.Headers, Kind: statusKind(status), Remote: true, UpstreamStatus: status,
		Message: "a probe of its health was answered with status " + strconv.Itoa(status), Hint: statusHint(status)}
}

// judged is what a failed probe shows: nothing when we stopped it, or have no socket left.
func judged(ctx context.Context, err error) balance.Verdict {
	if f := fault.As(err); ctx.Err() != nil || f != nil && (f.Hop != fault.Upstream || f.Kind == fault.Exhausted) {
		return balance.Nothing
	}
	return balance.Failed
}

// question is the call that asks a server whether it lives: server/discover unless it is known not to know it.
func (h *Hop) question(s *table.Server, now time.Time) *Call {
	c := &Call{Server: s, Method: http.MethodPost}
	if h.modern(s, now) {
		c.Revision, c.MCPMethod, c.Body = message.Rev20260728, "server/discover", h.discover()
	} else {
		c.Body = []byte(`{"jsonrpc":"2.0","id":1,"method":"ping"}`)
	}
	return c
}

// modern reports whether a server speaks 2026-07-28, or may.
func (h *Hop) modern(s *table.Server, now time.Time) bool {
	if s.Protocol != "auto" {
		return s.Protocol == "modern"
	}
	f := h.memory.of(s)
	return f == nil || f.modern.favours(now) || !f.modern.against(now) && !f.legacy.favours(now)
}

func (h *Hop) discover() []byte {
	name, version := "hopgate", h.agent[len("hopgate/"):]
	b := append([]byte(nil), `{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{"_meta":{`+
		`"io.modelcontextprotocol/protocolVersion":"`+message.Rev20260728+`","io.modelcontextprotocol/clientInfo":{"name":"`+name+`","version":`...)
	b = strconv.AppendQuoteToASCII(b, version)
	return append(b, `},"io.modelcontextprotocol/clientCapabilities":{}}}}`...)
}

// OpenInstances returns the masked URLs of a server's instances that get no calls now, at most 32, each with the last failure in parentheses, if
// it is known: "https://a.example/mcp (dns/not_found: the host name of the upstream doesn't exist)".
func (h *Hop) OpenInstances(s *table.Server) []string {
	const most = 32
	v := h.balance.Peek(s)
	if v == nil {
		return nil
	}
	var out []string
	for _, b := range v.Open() {
		switch {
		case len(out) == most:
			return out
		case b.Why == nil:
			out = append(out, b.Target.Masked)
		default:
			out = append(out, b.Target.Masked+" ("+balance.Told(b.Why)+")")
		}
	}
	return out
}
