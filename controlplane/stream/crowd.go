package stream

import "github.com/hopgate/hopgate/controlplane/view"

// crowd is the streams that get the same views and the push that is under way among them. The server's mu guards it.
type crowd struct {
	streams int
	push    *push
	view    *view.View // that passed streams need no update for
	passed  int
}

// gather counts a stream in; mu is held.
func (s *Server) gather(sess *session, into view.Crowd) {
	c := s.crowds[into]
	if c == nil {
		c = &crowd{}
		s.crowds[into] = c
	}
	sess.crowd = into
	c.streams++
	if sess.passed != nil && sess.passed == c.view {
		c.passed++
	}
	if p := c.push; p != nil && sess.owes != p && sess.heard.Load() != p && sess.passed != p.view {
		p.expect()
	}
}

// disperse counts a stream out; mu is held. A push that it owes an answer waits for it unless the stream is over.
func (s *Server) disperse(sess *session, over bool) {
	c := s.crowds[sess.crowd]
	c.streams--
	if sess.passed != nil && sess.passed == c.view {
		c.passed--
	}
	if p := c.push; p != nil && sess.passed != p.view && (over || sess.owes != p) {
		p.hear(sess, answer{})
	}
	if c.streams == 0 { // its push ends with the answers of those that moved on
		delete(s.crowds, sess.crowd)
	}
}

// regroup brings every stream into its crowd once a rollout has moved, all at once, so that a push knows from the start who is to answer.
func (s *Server) regroup() {
	now := s.cfg.Views.Crowds()
	if *s.sorted.Load() == now {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.regroupLocked()
}

func (s *Server) regroupLocked() {
	now := s.cfg.Views.Crowds()
	if *s.sorted.Load() == now {
		return
	}
	s.sorted.Store(&now)
	for _, sess := range s.sessions {
		if to := now.Of(sess.joined.Scope); to != sess.crowd {
			s.disperse(sess, false)
			s.gather(sess, to)
		}
	}
}

// pass notes that a stream needs no update for a view: a push of it doesn't wait for that stream, nor will one that is still to come.
func (s *Server) pass(sess *session, v *view.View) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.crowds[sess.crowd]
	if sess.passed == v {
		return
	}
	if p := c.push; p != nil && p.view == v {
		p.hear(sess, answer{})
	}
	if c.view != nil && c.view.Epoch == v.Epoch && c.view.Revision > v.Revision {
		return // it is being overtaken
	}
	if c.view != v {
		c.view, c.passed = v, 0
	}
	sess.passed = v
	c.passed++
}

// pushOf returns the push of a view among the streams of a crowd; the first stream starts it and ends the one before.
func (s *Server) pushOf(sess *session, v *view.View) *push {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.crowds[sess.crowd]
	if c.push == nil || c.push.view != v && (c.push.view.Epoch != v.Epoch || c.push.view.Revision <= v.Revision) {
		c.push.end()
		if c.view != v {
			c.view, c.passed = nil, 0
		}
		c.push = s.newPush(sess.joined.Scope, v, max(c.streams-c.passed, 1))
	} // else that of a newer view is near enough for a stream that is just being overtaken
	sess.owes = c.push
	if sess.passed != c.push.view {
		sess.passed = nil // not to keep an old view
	}
	return c.push
}
