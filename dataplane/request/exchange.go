package request

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/auth"
	"github.com/hopgate/hopgate/dataplane/request/endpoint"
	"github.com/hopgate/hopgate/dataplane/request/hop"
	"github.com/hopgate/hopgate/dataplane/request/hop/credential"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/request/origin"
	"github.com/hopgate/hopgate/dataplane/request/policy"
	"github.com/hopgate/hopgate/dataplane/request/reply"
	"github.com/hopgate/hopgate/dataplane/request/route"
	"github.com/hopgate/hopgate/dataplane/request/session"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/dataplane/telemetry"
)

// Inbound is one request as a front hands it over: neutral, so that no stage depends on which server read it.
type Inbound struct {
	// Context ends when the caller is gone.
	Context context.Context
	Method  string
	// Path is the request target without its query.
	Path string
	// Query is what follows the question mark of the request target, as it was sent.
	Query string
	// Host is the Host header or :authority.
	Host string
	// Remote is the direct peer, host:port.
	Remote string
	// Proto is HTTP/1.1 or HTTP/2.0.
	Proto string
	// Secure says that the caller came over this listener's own TLS. Names are the DNS and URI names of its verified certificate.
	Secure bool
	Names  []string
	// Header is read only; keys are in canonical form.
	Header http.Header
	// Body is bounded in time by the front; its end is told with or after its last byte.
	Body io.Reader
	// Length of the body, -1 when unknown.
	Length int64
	// Forwarded says that another data plane handed the request on; it isn't handed on again.
	Forwarded bool
}

// exchange is what one request carries through the stages. One goroutine owns it; it is pooled.
type exchange struct {
	in    *Inbound
	ctx   context.Context
	now   time.Time
	rec   telemetry.Record
	reply reply.Reply

	table     *table.Table
	door      endpoint.Endpoint
	place     origin.Request // what of the request tells where it came from
	from      origin.Facts
	admission auth.Admission
	principal *table.Principal
	scope     route.Scope         // what the endpoint opens for the caller
	elsewhere bool                // parts of many live in other data planes, and were taken out of it
	several   bool                // the endpoint is one of several servers, whatever their number is now
	many      session.Many        // what the caller's session holds there
	server    *table.Server       // the one that is called; nil while several are
	access    table.Access        // to it
	drifted   map[string]struct{} // tools that the server's config hides since they have changed
	hears     []route.Member      // whose streams are merged into the caller's
	alone     bool                // the call gets a session of its own
	declined  []string            // raw ids of the server's requests on this call that were answered with an error
	called    string              // the tool by the name that the caller has for it; empty: the server's own
	limits    []*table.Limit      // those the call counts against
	permit    policy.Permit
	prepaid   []*table.Limit // that were charged before it was known whom the call is for
	early     policy.Permit  // of those
	ask       credential.Ask // for the credential of the server; zero: it wants none

	body  []byte           // as received
	env   message.Envelope // of body
	era   message.Era
	call  hop.Call
	out   []byte // body as it leaves, with our trace context
	other []byte // body as it was received, once it was written anew
	worn  []byte // event or message under way, once it was written anew
	ans   []byte // answer or event under way
	data  []byte // JSON of an event
	tp    []byte // traceparent

	held    int64 // bytes of the handler's budget that this request has
	adopted bool  // the caller's trace context is settled
}

// reset lets go of everything that belonged to a request; buffers are kept unless a big one blew them up.
func (x *exchange) reset() {
	x.reply.Reset()
	clear(x.limits)
	*x = exchange{reply: x.reply, body: keep(x.body), out: keep(x.out), other: keep(x.other), worn: keep(x.worn), ans: keep(x.ans), data: keep(x.data),
		tp: x.tp[:0], limits: x.limits[:0]}
}

const keepAtMost = 128 << 10

func keep(b []byte) []byte {
	if cap(b) > keepAtMost {
		return nil
	}
	return b[:0]
}

// id is the raw JSON-RPC id of the request, empty before the body was read or when it has none.
func (x *exchange) id() []byte { return x.env.ID.Of(x.body) }

// aim notes where the request goes.
func (x *exchange) aim() {
	t := x.server.Target
	x.reply.Server = x.server
	x.rec.Server = x.server.Name
	x.rec.UpstreamAddr, x.rec.UpstreamPort, x.rec.UpstreamOrigin = t.Hostname, t.Port, t.Origin
	x.call.Server, x.call.Settings, x.call.Method = x.server, x.table.Settings(), x.in.Method
	x.call.Principal = x.principal.ID
}

// done notes a call's outcome as MCP sees it and the moment its answer was complete.
func (x *exchange) done(outcome string) {
	x.rec.Outcome, x.rec.End = outcome, time.Now()
}
