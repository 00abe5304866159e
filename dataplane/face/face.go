// Package face is the way into the data plane's handler for every request: MCP's own paths go straight to it, the other faces of the same
// servers (rest, sse) are made of MCP requests to it.
//
// It promises that what isn't for another face reaches the handler untouched and at no cost that could be measured, and that every face is
// admitted, judged and recorded by the handler's stages. It refuses to serve anything itself, but for the proof that another data plane asks for
// before it hands requests on to this one (peer.Prove).
package face

import (
	"errors"
	"strings"

	"github.com/hopgate/hopgate/dataplane/face/rest"
	"github.com/hopgate/hopgate/dataplane/face/sse"
	"github.com/hopgate/hopgate/dataplane/peer"
	"github.com/hopgate/hopgate/dataplane/request"
	"github.com/hopgate/hopgate/dataplane/request/endpoint"
	"github.com/hopgate/hopgate/dataplane/request/reply"
)

// Faces are all faces of one handler. Safe for concurrent use.
type Faces struct {
	handler *request.Handler
	rest    *rest.Face
	streams *sse.Streams
	peers   *peer.Peers
}

// New puts the faces in front of handler. peers find the streams of one another.
func New(handler *request.Handler, peers *peer.Peers) (*Faces, error) {
	if handler == nil || peers == nil {
		return nil, errors.New("face: a handler and peers are required")
	}
	return &Faces{handler: handler, rest: rest.New(handler), streams: sse.New(handler, peers), peers: peers}, nil
}

// Serve answers one request. Nothing of in and sink is used after it returns.
func (f *Faces) Serve(in *request.Inbound, sink reply.Sink) {
	if !special(in.Path) {
		f.plain(in, sink)
		return
	}
	if in.Path == peer.Door && f.peers.Prove(in, sink) {
		return
	}
	switch endpoint.Parse(in.Path).Kind {
	case endpoint.RestList:
		f.rest.List(in, sink)
	case endpoint.RestCall:
		f.rest.Call(in, sink)
	case endpoint.SSE:
		f.streams.Open(in, sink)
	case endpoint.Message:
		f.streams.Message(in, sink)
	default:
		f.handler.Serve(in, sink)
	}
}

// plain serves MCP's own paths. A request that another data plane handed on is the caller's own again.
func (f *Faces) plain(in *request.Inbound, sink reply.Sink) {
	if in.Header[peer.Header] == nil {
		f.handler.Serve(in, sink)
		return
	}
	as, forwarded, err := f.peers.Arrived(in)
	if err != nil {
		f.handler.Refuse(in, sink, err)
		return
	}
	as.Forwarded = forwarded
	f.handler.Serve(as, sink)
}

// Unready makes /readyz answer 503 while requests are still served: the first step of a drain.
func (f *Faces) Unready() { f.handler.Unready() }

// EndStreams ends long-lived streams properly: the second step of a drain.
func (f *Faces) EndStreams() { f.handler.EndStreams() }

// special reports whether a path may be one of another face, by a look at its ends.
func special(path string) bool {
	path = strings.TrimSuffix(path, "/")
	if path == "" {
		return false
	}
	switch path[len(path)-1] {
	case 'e':
		return strings.HasSuffix(path, "/sse") || strings.HasSuffix(path, "/message")
	case 't', 'l':
		return strings.HasPrefix(path, "/mcp-rest/")
	case 'r':
		return path == peer.Door
	}
	return false
}
