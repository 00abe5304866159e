package request

import (
	"encoding/json"
	"net/http"

	"github.com/hopgate/hopgate/dataplane/request/auth"
	"github.com/hopgate/hopgate/dataplane/request/endpoint"
	"github.com/hopgate/hopgate/dataplane/request/origin"
	"github.com/hopgate/hopgate/dataplane/request/reply"
	"github.com/hopgate/hopgate/dataplane/request/wellknown"
	"github.com/hopgate/hopgate/proto/fault"
)

// locate settles where the request came from and under which name it reached us, and refuses names and pages that aren't ours. done: it
// was a browser asking ahead, and has its answer.
func (h *Handler) locate(x *exchange) (done bool, err error) {
	ing, l := x.table.Ingress(), &h.cfg.Listener
	x.place = origin.Request{Remote: x.in.Remote, Host: x.in.Host, Secure: x.in.Secure, Header: x.in.Header}
	x.from = l.Settle(&x.place, ing)
	if x.from.Trusted && x.from.Client.IsValid() && x.from.Client != x.from.Peer {
		x.rec.ClientAddr = x.from.Client.String()
	}
	if x.rec.Debug {
		x.reply.Origin = func() string { return l.Describe(&x.from, ing) }
	}
	if err := l.Check(&x.place, &x.from, ing); err != nil {
		return false, err
	}
	if len(ing.CORS) == 0 {
		return false, nil
	}
	if x.in.Method == http.MethodOptions {
		if head, ok := origin.Preflight(x.in.Header, ing); ok {
			x.preflight(head)
			return true, nil
		}
	}
	origin.AllowOrigin(x.reply.Sink.Header(), x.in.Header, ing)
	return false, nil
}

func (x *exchange) preflight(head http.Header) {
	to := x.reply.Sink.Header()
	for k, v := range head {
		to[k] = v
	}
	x.done("ok")
	x.reply.Whole(http.StatusNoContent, nil, nil)
}

// document answers the OAuth documents, to everybody.
func (h *Handler) document(x *exchange) error {
	if x.in.Method != http.MethodGet && x.in.Method != http.MethodHead {
		return x.wrongMethod("GET, HEAD")
	}
	if x.table.Version().Epoch == "" {
		return noConfig()
	}
	public, _ := h.cfg.Listener.Origin(&x.from, x.table.Ingress())
	body, err := wellknown.Answer(x.door.Kind, x.door.Name, x.table, public)
	if err != nil {
		return err
	}
	x.done("ok")
	x.reply.Sink.Header()["Access-Control-Allow-Origin"] = []string{"*"} // public facts, which browsers may read
	x.reply.Whole(http.StatusOK, reply.JSON(), body)
	return nil
}

// whereabouts is the answer of /v1/mcp/network/client-ip.
type whereabouts struct {
	IP       string              `json:"ip"` // empty: unknown
	Internal bool                `json:"internal"`
	Origin   string              `json:"origin"`
	Steps    *origin.Explanation `json:"explanation,omitempty"` // for callers with the role debug
}

// clientIP tells a caller how it is seen.
func (h *Handler) clientIP(x *exchange) error {
	if x.in.Method != http.MethodGet {
		return x.wrongMethod("GET")
	}
	ing := x.table.Ingress()
	w := whereabouts{Internal: x.from.Internal}
	if x.from.Client.IsValid() {
		w.IP = x.from.Client.String()
	}
	w.Origin, _ = h.cfg.Listener.Origin(&x.from, ing)
	if x.principal.Debug {
		e := h.cfg.Listener.Explain(&x.place, ing)
		w.Steps = &e
	}
	body, err := json.Marshal(w)
	if err != nil {
		return err
	}
	x.done("ok")
	x.reply.Whole(http.StatusOK, reply.JSON(), body)
	return nil
}

// challenge tells a caller who wasn't admitted how to become so: where the metadata of this route is, if tokens are taken at all (RFC 9728
// section 5.1).
func (h *Handler) challenge(x *exchange, f *fault.Error) {
	if f.Hop != fault.Client || f.HTTPStatus() != http.StatusUnauthorized {
		return
	}
	metadata := ""
	if len(x.table.Providers()) > 0 {
		public, _ := h.cfg.Listener.Origin(&x.from, x.table.Ingress())
		if public != "" { // else the Host header was none
			metadata = public + "/.well-known/oauth-protected-resource" + x.door.Route()
		}
	}
	x.reply.Challenge = auth.Challenge(f, metadata)
}

// published reports the doors that are open to everybody: the documents that tell clients how to become callers.
func published(k endpoint.Kind) bool {
	switch k {
	case endpoint.ProtectedResource, endpoint.AuthServer, endpoint.OpenID, endpoint.JWKS:
		return true
	}
	return false
}
