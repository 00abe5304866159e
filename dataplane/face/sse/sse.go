// Package sse is the transport of MCP 2024-11-05 towards clients: GET /{name}/sse is a stream that begins with the address to which messages
// are POSTed, and all answers come on the stream.
//
// It promises that every message is served as if it had been POSTed to the MCP endpoint behind it, by the same stages, that the session which
// initialize opens there is the stream's own and ends with it, that a stream which opens nothing any more under a changed config ends, and that
// a drain lets requests under way be answered before it ends their stream, which takes no more of them meanwhile. What it keeps is bounded:
// streams per principal, messages in flight per stream, and nobody's answers wait in a queue, since those who bring them wait. It refuses
// messages for streams that aren't there with 404, on which clients begin anew.
package sse

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/hopgate/hopgate/dataplane/peer"
	"github.com/hopgate/hopgate/dataplane/request"
	"github.com/hopgate/hopgate/dataplane/request/endpoint"
	"github.com/hopgate/hopgate/dataplane/request/policy"
	"github.com/hopgate/hopgate/dataplane/request/reply"
	"github.com/hopgate/hopgate/proto/fault"
)

// Streams are the open streams of one data plane. Safe for concurrent use.
type Streams struct {
	handler *request.Handler
	peers   *peer.Peers
	share   policy.Streams

	mu   sync.RWMutex
	open map[string]*stream // guarded by mu; by id
}

// New returns streams whose messages handler serves and that other data planes find through peers.
func New(handler *request.Handler, peers *peer.Peers) *Streams {
	return &Streams{handler: handler, peers: peers, open: map[string]*stream{}}
}

// Open serves the stream: the door endpoint.SSE.
func (s *Streams) Open(in *request.Inbound, sink reply.Sink) {
	s.handler.Admit(in, sink, func(v *request.Visit) error {
		if in.Method != http.MethodGet {
			return v.WrongMethod(http.MethodGet)
		}
		if err := s.share.Acquire(v.Principal(), v.Table().Settings().StreamsPerPrincipal); err != nil {
			return err
		}
		defer s.share.Release(v.Principal())
		id := rand.Text()
		token, err := s.peers.Name(v.Principal(), v.Door().Canonical(), id)
		if err != nil {
			return err
		}
		here := v.Context()
		return v.Lasting(func(ctx context.Context) error {
			st := newStream(here, s.handler, v, in)
			s.add(id, st)
			defer st.end()
			defer s.remove(id)
			return st.stay(ctx, in.Path, token)
		})
	})
}

// Message serves a POSTed message: the door endpoint.Message. The stream may be another data plane's.
func (s *Streams) Message(in *request.Inbound, sink reply.Sink) {
	as, forwarded, err := s.peers.Arrived(in)
	if err != nil {
		s.handler.Refuse(in, sink, err)
		return
	}
	s.handler.Admit(as, sink, func(v *request.Visit) error {
		if as.Method != http.MethodPost {
			return v.WrongMethod(http.MethodPost)
		}
		owner, id, err := s.peers.Find(sessionOf(as.Query), v.Principal(), v.Door().Canonical())
		if err != nil {
			return err
		}
		if st := s.find(id); st != nil {
			return st.post(v, as)
		}
		switch {
		case owner == "":
			return request.Gone("its stream isn't open on this data plane",
				"open the stream anew; several data planes behind one address need to advertise theirs to one another")
		case s.peers.Mine(owner), forwarded:
			return gone()
		}
		return s.peers.Forward(v.Context(), owner, as, v.Sink())
	})
}

// sessionOf reads the query that the address of messages has.
func sessionOf(query string) string {
	for pair := range strings.SplitSeq(query, "&") {
		if v, ok := strings.CutPrefix(pair, "session="); ok {
			if token, err := url.QueryUnescape(v); err == nil {
				return token
			}
		}
	}
	return ""
}

func (s *Streams) add(id string, st *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[id] = st
}

func (s *Streams) remove(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, id)
}

func (s *Streams) find(id string) *stream {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.open[id]
}

// behind is the path of the MCP endpoint behind a door.
func behind(d endpoint.Endpoint) string { return d.Behind().Route() }

var errEnded = errors.New("the stream has ended")

func tooMany() error {
	return &fault.Error{Hop: fault.Client, Phase: fault.Limit, Kind: fault.Exhausted, Message: "too many messages of this stream are in flight",
		Hint: "wait for answers before sending more"}
}
