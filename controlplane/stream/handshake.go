package stream

import (
	"crypto/tls"
	"errors"
	"net"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
)

// handshakePatience is how long a new connection may wait for its TLS handshake. It is half of what a data plane waits for its Welcome: who gets
// a turn still is there.
const handshakePatience = 5 * time.Second

// Credentials returns the TLS of the sync listener, with handshakes paced to the streams that are taken a second (Config.NewStreams). A
// handshake costs more than everything else a new stream does; when thousands come back at once and all begin theirs, none is ready before
// its data plane gives up. So they wait for their turn, and those whose turn would come too late are closed before they cost anything.
func (s *Server) Credentials(cfg *tls.Config) credentials.TransportCredentials {
	n := s.cfg.NewStreams
	return &paced{TransportCredentials: credentials.NewTLS(cfg), pace: rate.NewLimiter(rate.Limit(n)*0.9, max(1, n/4)), refuse: func() {
		s.metrics.refused.WithLabelValues(codes.ResourceExhausted.String()).Inc()
	}}
}

// paced are credentials whose server handshakes are let pass one after the other.
type paced struct {
	credentials.TransportCredentials
	pace   *rate.Limiter
	refuse func()
}

var errCrowded = errors.New("too many data planes connect at once")

// ServerHandshake waits for its turn first.
func (p *paced) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	turn := p.pace.Reserve()
	if wait := turn.Delay(); wait > handshakePatience {
		turn.Cancel()
		p.refuse()
		return nil, nil, errors.Join(errCrowded, conn.Close())
	} else if wait > 0 {
		t := time.NewTimer(wait)
		<-t.C
	}
	return p.TransportCredentials.ServerHandshake(conn)
}

// Clone returns credentials of the same pace.
func (p *paced) Clone() credentials.TransportCredentials {
	return &paced{TransportCredentials: p.TransportCredentials.Clone(), pace: p.pace, refuse: p.refuse}
}
