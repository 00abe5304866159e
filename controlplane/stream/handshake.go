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
// its data plane gives up. So they wait for their turn, and those whose turn would come too late are closed before they cost anything, as are
// those of a source that has most of the others waiting. Who comes without a certificate, where that is possible, has 20 s for what it wants.
func (s *Server) Credentials(cfg *tls.Config) credentials.TransportCredentials {
	n := s.cfg.NewStreams
	pace := rate.Limit(n) * 0.9
	return &paced{TransportCredentials: credentials.NewTLS(cfg), pace: rate.NewLimiter(pace, max(1, n/4)),
		waiting: newRoom(max(1, int(handshakePatience.Seconds()*float64(pace)))), strangers: newRoom(strangersMost), refuse: func() {
			s.metrics.refused.WithLabelValues(codes.ResourceExhausted.String()).Inc()
		}}
}

// paced are credentials whose server handshakes are let pass one after the other.
type paced struct {
	credentials.TransportCredentials
	pace      *rate.Limiter
	waiting   *room // those that wait for their turn
	strangers *room // those without a certificate
	refuse    func()
}

var errCrowded = errors.New("too many data planes connect at once")

// ServerHandshake waits for its turn first.
func (p *paced) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if !p.wait(conn) {
		return p.close(conn)
	}
	secure, info, err := p.TransportCredentials.ServerHandshake(conn)
	if err != nil || withCertificate(info) {
		return secure, info, err
	}
	brief, ok := newStranger(secure, p.strangers)
	if !ok {
		return p.close(secure)
	}
	return brief, info, nil
}

// wait returns when it is this connection's turn; false: it gets none.
func (p *paced) wait(conn net.Conn) bool {
	from := sourceOf(conn)
	if !p.waiting.enter(from) { // before a turn is taken: one that is given back late is lost
		return false
	}
	defer p.waiting.leave(from)
	turn := p.pace.Reserve()
	wait := turn.Delay()
	if wait > handshakePatience {
		turn.Cancel()
		return false
	}
	if wait > 0 {
		t := time.NewTimer(wait)
		<-t.C
	}
	return true
}

func (p *paced) close(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	p.refuse()
	return nil, nil, errors.Join(errCrowded, conn.Close())
}

// Clone returns credentials of the same pace.
func (p *paced) Clone() credentials.TransportCredentials {
	again := *p
	again.TransportCredentials = p.TransportCredentials.Clone()
	return &again
}
