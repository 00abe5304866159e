// Package request is journey one: a straight line of typed steps from a caller's request to its answer.
//
//	origin → endpoint → auth → route → message → session → policy → credential → hop → reply
//
// It promises that the whole request sees one config revision, that identity is settled before a body is read, that bodies are spliced and
// never re-encoded, and that every failure names its hop. It refuses what it can't honour instead of guessing.
package request

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/auth"
	"github.com/hopgate/hopgate/dataplane/request/catalogue"
	"github.com/hopgate/hopgate/dataplane/request/endpoint"
	"github.com/hopgate/hopgate/dataplane/request/hop"
	"github.com/hopgate/hopgate/dataplane/request/hop/credential"
	"github.com/hopgate/hopgate/dataplane/request/leg"
	"github.com/hopgate/hopgate/dataplane/request/origin"
	"github.com/hopgate/hopgate/dataplane/request/policy"
	"github.com/hopgate/hopgate/dataplane/request/reply"
	"github.com/hopgate/hopgate/dataplane/request/route"
	"github.com/hopgate/hopgate/dataplane/request/several"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/dataplane/telemetry"
	"github.com/hopgate/hopgate/proto/redact"
)

// Config of a Handler.
type Config struct {
	// Table holds the config in force. Required.
	Table *table.Holder
	// Hop reaches upstreams. Required.
	Hop *hop.Hop
	// Telemetry receives one record per request. Required.
	Telemetry *telemetry.Telemetry
	// Listener says what the socket is known as.
	Listener origin.Listener
	// Gate admits callers.
	Gate auth.Gate
	// Credentials finds what servers want of us. Required.
	Credentials *credential.Resolver
	// Limits are the data plane's share of fleet-wide limits. Required.
	Limits *policy.Limits
	// Region this data plane stands in, for messages and diagnostics.
	Region string
	// Agent is our name and version, "hopgate/1.2.3", for callers of endpoints of several servers and for their servers.
	Agent string
	// Lore are the cached lists of servers; nil: a catalogue of its own, which nobody runs.
	Lore *catalogue.Catalogue
	// Ready answers /readyz: the body and whether config is loaded; nil: always ready until Unready.
	Ready func() (body []byte, ok bool)
	// HeldBytes bounds what all requests together keep of large bodies, answers and events; 0 means 256 MiB.
	HeldBytes int64
	// KeepAlive is how long an event stream may be quiet before a comment goes out to its caller; 0 means 15 s, negative means never.
	KeepAlive time.Duration
	// Forward hands a request to the data plane at an address, which holds its upstream session, and brings the answer; nil: nobody does.
	Forward func(ctx context.Context, owner string, in *Inbound, sink reply.Sink) error
	// Log receives defects of the gateway itself. Required.
	Log *slog.Logger
}

// Handler answers requests. Safe for concurrent use.
type Handler struct {
	cfg     Config
	pool    sync.Pool // *exchange
	streams policy.Streams
	watch   lasting // open long-lived streams
	legs    *leg.Maker
	several *several.Servers
	held    atomic.Int64 // bytes, see hold

	draining context.Context // ends when long-lived streams should end
	drain    context.CancelCauseFunc
	dry      atomic.Bool // not ready for new traffic
}

// New checks cfg and returns a handler.
func New(cfg Config) (*Handler, error) {
	switch {
	case cfg.Table == nil:
		return nil, errors.New("request: Table is required")
	case cfg.Hop == nil:
		return nil, errors.New("request: Hop is required")
	case cfg.Telemetry == nil:
		return nil, errors.New("request: Telemetry is required")
	case cfg.Credentials == nil:
		return nil, errors.New("request: Credentials is required")
	case cfg.Limits == nil:
		return nil, errors.New("request: Limits is required")
	case cfg.Log == nil:
		return nil, errors.New("request: Log is required")
	}
	if cfg.HeldBytes == 0 {
		cfg.HeldBytes = 256 << 20
	}
	if cfg.KeepAlive == 0 {
		cfg.KeepAlive = 15 * time.Second
	}
	if cfg.Lore == nil {
		cfg.Lore = catalogue.New(catalogue.Config{})
	}
	h := &Handler{cfg: cfg, pool: sync.Pool{New: func() any { return new(exchange) }}}
	h.legs = leg.NewMaker(leg.Config{Hop: cfg.Hop, Credentials: cfg.Credentials, Holds: h.cfg.Gate.Holds, Telemetry: cfg.Telemetry, Lore: cfg.Lore,
		Region: cfg.Region, Agent: cfg.Agent, Log: cfg.Log})
	h.several = several.New(several.Config{Legs: h.legs, Hop: cfg.Hop, Table: cfg.Table, Agent: cfg.Agent, Log: cfg.Log})
	h.draining, h.drain = context.WithCancelCause(context.Background())
	return h, nil
}

// Unready makes /readyz answer 503 while requests are still served: the first step of a drain.
func (h *Handler) Unready() { h.dry.Store(true) }

// Draining reports whether Unready was called.
func (h *Handler) Draining() bool { return h.dry.Load() }

// EndStreams ends long-lived streams properly, so that clients connect again elsewhere: the second step of a drain.
func (h *Handler) EndStreams() { h.drain(errDraining) }

// Serve answers one request and closes its record. Nothing of in and sink is used after it returns.
func (h *Handler) Serve(in *Inbound, sink reply.Sink) { h.within(in, sink, (*Handler).answer) }

// within runs do with the exchange of a request, whose error is told to the caller by refuse; nil means that the answer is out.
func (h *Handler) within(in *Inbound, sink reply.Sink, do func(h *Handler, x *exchange) error) {
	x := h.pool.Get().(*exchange)
	h.begin(x, in, sink)
	defer h.finish(x)
	defer h.recovered(x)
	if err := do(h, x); err != nil {
		h.refuse(x, err)
	}
}

func (h *Handler) begin(x *exchange, in *Inbound, sink reply.Sink) {
	x.in, x.ctx, x.now = in, in.Context, time.Now()
	x.rec.Start = x.now
	x.rec.HTTPMethod, x.rec.Path, x.rec.Proto, x.rec.ClientAddr = in.Method, in.Path, in.Proto, in.Remote
	if x.door = endpoint.Parse(in.Path); x.door.Kind == endpoint.None || published(x.door.Kind) {
		x.rec.Path = redact.Text(in.Path) // nobody knows what strangers put there
	}
	x.reply.Sink, x.reply.Record, x.reply.Region, x.reply.KeepAlive = sink, &x.rec, h.cfg.Region, h.cfg.KeepAlive
	if asked(in.Header) {
		x.rec.Debug, x.reply.InboundAuth = true, auth.Shown(in.Header, in.Names)
	}
	h.cfg.Telemetry.Begin(&x.rec)
}

func (h *Handler) finish(x *exchange) {
	x.reply.Close()
	x.permit.Release()
	x.early.Release()
	h.cfg.Telemetry.Finish(&x.rec)
	h.giveBack(x, x.held)
	x.reset()
	h.pool.Put(x)
}

// answer is the straight line.
func (h *Handler) answer(x *exchange) error {
	if done, err := h.arrive(x); done || err != nil {
		return err
	}
	if x.door.Kind == endpoint.ClientIP {
		return h.clientIP(x)
	}
	if err := h.match(x); err != nil {
		return err
	}
	if !x.several {
		x.aim()
	}
	switch x.in.Method {
	case http.MethodPost:
		return h.post(x)
	case http.MethodGet:
		return h.listen(x)
	case http.MethodDelete:
		return h.end(x)
	}
	return x.wrongMethod("GET, POST, DELETE")
}

// arrive is the straight line up to the caller. done: the answer is out, since it is everybody's: health, the OAuth documents, what a browser asks
// ahead.
func (h *Handler) arrive(x *exchange) (done bool, err error) {
	x.table = h.cfg.Table.Load()
	x.rec.ConfigRevision = x.table.Version().Revision
	if x.door.Kind == endpoint.Live || x.door.Kind == endpoint.Ready {
		return true, h.health(x)
	}
	if done, err = h.locate(x); done || err != nil {
		return done, err
	}
	if published(x.door.Kind) {
		return true, h.document(x)
	}
	return false, h.admit(x)
}

// admit settles who is calling.
func (h *Handler) admit(x *exchange) (err error) {
	if x.door.Kind == endpoint.None {
		return noSuchPath(x.rec.Path)
	}
	if x.table.Version().Epoch == "" {
		return noConfig()
	}
	if x.admission, err = h.cfg.Gate.Admit(x.ctx, x.table, x.in.Header, x.in.Names); err != nil {
		return err
	}
	x.principal = x.admission.Principal
	x.rec.Caller, x.rec.EndUser, x.reply.Principal = x.principal.Name, x.principal.EndUser, x.principal
	x.rec.AuthEnd = time.Now()
	return nil
}

// match finds the server the request is for, or the several, among what the caller may reach from where it is.
func (h *Handler) match(x *exchange) (err error) {
	if x.door.Kind == endpoint.Server {
		if _, one := x.table.Server(x.door.Name); one {
			x.server, x.access, err = route.Match(x.table, x.principal, x.door.Name, h.cfg.Region, x.from.Internal, x.from.Client)
			return err
		}
	}
	x.several = true
	x.scope, err = route.Several(x.table, x.principal, x.door, x.in.Header["X-Mcp-Servers"],
		route.Place{Region: h.cfg.Region, Internal: x.from.Internal, Client: x.from.Client})
	if err == nil && x.rec.Debug {
		x.reply.Legs = new(reply.Legs)
	}
	return err
}

// health answers /healthz and /readyz, to everybody.
func (h *Handler) health(x *exchange) error {
	if x.in.Method != http.MethodGet && x.in.Method != http.MethodHead {
		return x.wrongMethod("GET, HEAD")
	}
	status, body := http.StatusOK, []byte(`{"status":"ok"}`)
	if x.door.Kind == endpoint.Ready {
		ok := true
		if h.cfg.Ready != nil {
			body, ok = h.cfg.Ready()
		}
		if !ok || h.dry.Load() {
			status = http.StatusServiceUnavailable
		}
	}
	x.rec.End = time.Now()
	x.reply.Whole(status, reply.JSON(), body)
	return nil
}

// asked reports whether the caller wants diagnostic headers.
func asked(h http.Header) bool { return yes(h["X-Litellm-Mcp-Debug"]) || yes(h["X-Hopgate-Debug"]) }
