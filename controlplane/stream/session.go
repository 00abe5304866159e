package stream

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/hopgate/hopgate/controlplane/fleet"
	"github.com/hopgate/hopgate/controlplane/share"
	"github.com/hopgate/hopgate/controlplane/view"
	"github.com/hopgate/hopgate/proto/confset"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

// helloTimeout bounds the wait for the first message.
const helloTimeout = 10 * time.Second

// session is one stream. What comes is handled where it is read, on one goroutine; the handler waits for everything else, since returning is
// what ends a stream. Whoever has something to say sends it under mu when that can't block, and lets another goroutine do it otherwise.
type session struct {
	server *Server
	stream syncv1.SyncService_SyncServer
	first  chan received     // one slot: the hello
	opened chan struct{}     // closed when what comes after the hello may be handled
	ends   chan error        // one slot: why the stream must end
	moves  chan *syncv1.Move // one slot
	wakes  chan struct{}     // one slot: there are shares to be told
	shuts  chan struct{}     // one slot: a relay is to be told who is shut out
	done   chan struct{}     // closed when the handler returns
	timer  *time.Timer
	word   atomic.Int64 // when the data plane last said something, in nanoseconds since the server was made

	// set by open
	joined fleet.Joined
	member *fleet.Member
	shares *share.Member // nil: none are handed out
	sub    *view.Subscription
	began  time.Time

	crowd  view.Crowd // guarded by the server's mu, as the next two
	owes   *push      // last push that an update to this stream belonged to
	passed *view.View // last view that it needed no update for

	heard atomic.Pointer[push] // last push that knows how this stream took it

	mu       sync.Mutex // taken before that of the server
	closed   bool       // guarded by mu, as all below
	greeting *view.View // that of the Welcome, until the data plane said what stands against it
	held     held
	suspect  []byte // digest that the data plane will refuse; may be empty
	nonce    uint64
	queue    []message // to be sent, in order
	sending  bool      // by another goroutine
	sent     int       // bytes handed over
	proven   int       // of these the data plane has surely got so many
	news     bool      // a view may be newer than what was offered
	due      bool      // there are shares to be told
	flight   *flight   // unanswered update
	late     *flight   // refused update that may still be taken
	deadline time.Time // when the stream ends unless something happens; zero: never
	armed    time.Time // when the timer fires; zero: it doesn't
}

// held is what the data plane holds.
type held struct {
	epoch    string
	digest   []byte // empty: nothing
	revision int64
	astray   bool // the digest isn't what stood at the revision
}

func (h held) is(v *view.View) bool {
	d := v.Digest()
	return h.epoch == v.Epoch && string(h.digest) == string(d[:])
}

type received struct {
	msg *syncv1.SyncRequest
	err error
}

func newSession(s *Server, stream syncv1.SyncService_SyncServer) *session {
	t := time.NewTimer(helloTimeout)
	sess := &session{server: s, stream: stream, first: make(chan received, 1), opened: make(chan struct{}), ends: make(chan error, 1),
		moves: make(chan *syncv1.Move, 1), wakes: make(chan struct{}, 1), shuts: make(chan struct{}, 1), done: make(chan struct{}), timer: t}
	sess.word.Store(int64(s.age()))
	return sess
}

// receive handles what comes, until the stream or the handler ends.
func (s *session) receive() {
	m, err := s.stream.Recv()
	s.first <- received{m, err}
	select {
	case <-s.opened:
	case <-s.done:
		return
	}
	for err == nil {
		if m, err = s.stream.Recv(); err == nil {
			s.word.Store(int64(s.server.age()))
			err = s.handle(m)
		}
	}
	s.end(err)
}

// handle deals with one message and what follows from it.
func (s *session) handle(m *syncv1.SyncRequest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errCut
	}
	if err := s.take(m); err != nil {
		return err
	}
	s.advance()
	return nil
}

// happen notes something and does what follows from it.
func (s *session) happen(note func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	note()
	s.advance()
}

// open waits for the hello and for the first view, then joins the fleet and queues the Welcome.
func (s *session) open() error {
	h, err := s.hello()
	if err != nil {
		return err
	}
	if s.joined, err = s.server.join(s.stream.Context(), h); err != nil {
		return err
	}
	v := s.server.cfg.Views.Current(s.joined.Scope)
	if v == nil {
		return status.Error(codes.Unavailable, "this control plane hasn't read its store yet; try again")
	}
	s.held = held{epoch: h.GetEpoch(), digest: h.GetDigest(), revision: h.GetRevision()}
	s.suspect = h.GetSuspectDigest()
	s.began, s.greeting = time.Now(), v
	digest := v.Digest()
	s.say(&syncv1.SyncResponse{Message: &syncv1.SyncResponse_Welcome{Welcome: &syncv1.Welcome{
		Epoch: v.Epoch, Digest: digest[:], Revision: v.Revision, Replica: s.server.cfg.Replica, BarredSha256: s.server.barred()}}})
	s.sub = s.server.cfg.Views.Subscribe(s.joined.Scope)
	s.server.add(s)
	s.shut()
	return nil
}

// barred are the hashes of credentials that must not leave the gateway.
func (s *Server) barred() (out [][]byte) {
	for _, sum := range s.cfg.Barred {
		out = append(out, sum[:])
	}
	return out
}

func (s *session) hello() (*syncv1.Hello, error) {
	defer s.timer.Stop()
	select {
	case r := <-s.first:
		if r.err != nil {
			return nil, status.Error(codes.Canceled, "the stream ended before its hello")
		}
		return r.msg.GetHello(), nil
	case <-s.timer.C:
		return nil, status.Errorf(codes.DeadlineExceeded, "no hello within %s", helloTimeout)
	case <-s.server.cut:
		return nil, errCut
	case <-s.stream.Context().Done():
		return nil, status.FromContextError(s.stream.Context().Err()).Err()
	}
}

// close undoes open.
func (s *session) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.timer.Stop()
	s.sub.Close()
	s.server.remove(s)
	if s.flight != nil {
		s.flight.push.hear(s, answer{}) // that of a crowd it may have left
	}
}

var errCut = status.Error(codes.Unavailable, "this control plane is shutting down; connect to another one")

// run drives the session until the stream ends. It returns nil when the data plane closed it.
func (s *session) run() error {
	s.happen(func() {})
	close(s.opened)
	for {
		if err := s.wait(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// wait takes in one thing that happened, other than a message of the data plane.
func (s *session) wait() error {
	select {
	case <-s.sub.C():
		s.happen(func() { s.news = true })
	case m := <-s.moves:
		s.happen(func() { s.say(&syncv1.SyncResponse{Message: &syncv1.SyncResponse_Move{Move: m}}) })
	case <-s.wakes:
		s.happen(func() { s.due = true })
	case <-s.shuts:
		s.happen(s.sayShutOut)
	case <-s.timer.C:
		return s.stalled()
	case err := <-s.ends:
		return err
	case <-s.server.cut:
		return errCut
	case <-s.stream.Context().Done():
		return status.FromContextError(context.Cause(s.stream.Context())).Err()
	}
	return nil
}

// take handles a message of the data plane; what a newer one says that isn't known here is left alone.
func (s *session) take(m *syncv1.SyncRequest) error {
	switch m := m.GetMessage().(type) {
	case *syncv1.SyncRequest_Ack:
		s.answer(m.Ack)
	case *syncv1.SyncRequest_Health:
		s.member.Health(m.Health)
	case *syncv1.SyncRequest_Demand:
		if s.shares != nil {
			s.shares.Demand(m.Demand)
		}
	case *syncv1.SyncRequest_Hello:
		return status.Error(codes.InvalidArgument, "a second hello; a stream has one")
	}
	return nil
}

// end makes the stream end with a reason, unless it already has one.
func (s *session) end(err error) {
	select {
	case s.ends <- err:
	default:
	}
}

// wake says that there are shares to be told.
func (s *session) wake() {
	select {
	case s.wakes <- struct{}{}:
	default:
	}
}

func (s *session) move(m *syncv1.Move) {
	select {
	case s.moves <- m:
	default:
	}
}

// digestOf returns a digest from the wire; ok is false when it is none.
func digestOf(b []byte) (d confset.Digest, ok bool) {
	if len(b) != len(d) {
		return d, false
	}
	return confset.Digest(b), true
}
