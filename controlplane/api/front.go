package api

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	contract "github.com/hopgate/hopgate/proto"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

// front is the port: it sends gRPC to the service and looks at REST calls before they are translated: who calls comes first, then the path,
// the method, the role, the query, and the body last. It never redirects.
type front struct {
	cfg     Config
	guard   *guard
	grpc    http.Handler
	gateway http.Handler
	routes  []route
	desk    *desk
}

func newFront(cfg Config, g *guard, in *inner, d *desk) (*front, error) {
	routes, err := readRoutes()
	if err != nil {
		return nil, err
	}
	gw, err := newGateway(adminv1.NewAdminServiceClient(in.conn))
	if err != nil {
		return nil, err
	}
	return &front{cfg: cfg, guard: g, grpc: in.outer, gateway: gw, routes: routes, desk: d}, nil
}

// ServeHTTP answers one request.
func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
		f.serveGRPC(w, r)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	switch r.URL.Path {
	case "/healthz":
		f.plain(w, r, func() { writeJSON(w, http.StatusOK, map[string]any{"status": "ok"}) })
	case "/readyz":
		f.plain(w, r, func() { f.ready(w) })
	case "/openapi.json":
		f.plain(w, r, func() { writeRaw(w, http.StatusOK, contract.OpenAPI()) })
	default:
		f.rest(w, r)
	}
}

func (f *front) serveGRPC(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor != 2 {
		writeStatus(w, http.StatusHTTPVersionNotSupported, status.New(codes.Unimplemented, "gRPC needs HTTP/2; this call came over "+r.Proto))
		return
	}
	f.grpc.ServeHTTP(w, r)
}

// plainMethods are those of the paths outside the service.
var plainMethods = []string{http.MethodGet, http.MethodHead}

// plain are the paths outside the service; they need no key and say nothing about the config.
func (f *front) plain(w http.ResponseWriter, r *http.Request, answer func()) {
	if !slices.Contains(plainMethods, r.Method) {
		methodNotAllowed(w, r, plainMethods)
		return
	}
	answer()
}

func (f *front) ready(w http.ResponseWriter) {
	if err := f.cfg.Ready(); err != nil {
		writeJSON(w, http.StatusServiceUnavailable, map[string]any{"status": "not ready", "reason": err.Error()})
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"status": "ready", "revision": f.cfg.Index.Revision()})
}

func (f *front) rest(w http.ResponseWriter, r *http.Request) {
	rt, allowed := find(f.routes, r.Method, r.URL.Path)
	tr := &trail{method: r.Method, remote: r.RemoteAddr}
	if rt != nil {
		tr.method = rt.rpc
	}
	who, err := f.guard.identify(func(name string) []string { return r.Header.Values(name) })
	tr.caller = who
	switch {
	case err != nil:
		f.refuse(w, r, tr, err)
	case rt == nil && allowed != nil:
		methodNotAllowed(w, r, allowed)
	case rt == nil:
		writeStatus(w, http.StatusNotFound, status.New(codes.NotFound, "no such path; /openapi.json lists all"))
	default:
		f.call(w, r, rt, tr)
	}
}

// call checks a call that has a route and a caller, and lets it through.
func (f *front) call(w http.ResponseWriter, r *http.Request, rt *route, tr *trail) {
	if err := allow(tr.caller, rt.rpc); err != nil {
		f.refuse(w, r, tr, err)
		return
	}
	if err := checkQuery(rt, r.URL.RawQuery); err != nil {
		f.refuse(w, r, tr, err)
		return
	}
	body, code, err := readBody(w, r, rt)
	if err != nil {
		f.guard.audit(r.Context(), tr, err)
		writeStatus(w, code, status.Convert(err))
		return
	}
	if rt.rpc == adminv1.AdminService_WatchEvents_FullMethodName {
		f.watch(w, r, tr)
		return
	}
	r = r.Clone(r.Context())
	r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	r.Header.Set("Content-Type", "application/json")
	f.gateway.ServeHTTP(w, r)
}

func (f *front) refuse(w http.ResponseWriter, r *http.Request, tr *trail, err error) {
	f.guard.audit(r.Context(), tr, err)
	writeError(w, err)
}

func methodNotAllowed(w http.ResponseWriter, r *http.Request, allowed []string) {
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	writeStatus(w, http.StatusMethodNotAllowed, status.Newf(codes.Unimplemented, "%s isn't possible here; allowed: %s", r.Method, strings.Join(allowed, ", ")))
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		b = []byte("{}")
	}
	writeRaw(w, code, append(b, '\n'))
}

func writeRaw(w http.ResponseWriter, code int, b []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	// A caller that is gone can't be told.
	_, _ = w.Write(b)
}
