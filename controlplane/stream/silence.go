package stream

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// silenceMost is how long a data plane may say nothing: a little more than the two minutes after which it reports health anyway.
	silenceMost = 135 * time.Second
	// silenceEvery is how often all streams are looked at for it.
	silenceEvery = 10 * time.Second
)

var errSilent = status.Errorf(codes.Aborted, "nothing was heard of the data plane for %s, not even its health; connect anew", silenceMost)

// Watch ends the streams of data planes that say nothing, so that nobody takes one for connected whose path has silently died, until ctx ends.
// Such a stream lasts for 145 s at most. It returns nil.
func (s *Server) Watch(ctx context.Context) error {
	tick := time.NewTicker(silenceEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			s.endSilent(s.age() - silenceMost)
		}
	}
}

// age is how long ago the server was made. Unlike the time of day it never jumps.
func (s *Server) age() time.Duration { return time.Since(s.made) }

// endSilent ends the streams without a word since the server was of an age.
func (s *Server) endSilent(since time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sess := range s.sessions {
		if time.Duration(sess.word.Load()) < since {
			sess.end(errSilent)
		}
	}
}
