package peer

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/hopgate/hopgate/dataplane/request"
	"github.com/hopgate/hopgate/dataplane/request/reply"
	"github.com/hopgate/hopgate/dataplane/request/seal"
)

// Door is the path at which a data plane is asked to prove who it is, with GET.
const Door = "/.well-known/hopgate-peer"

// ChallengeHeader is where the challenge stands: a sealed nonce, for one process at one address. The answer is the nonce, sealed for the same but
// for another purpose. Nobody without the ring can read or make either, or make one of the other; and a nonce is never used twice, so that no
// earlier answer fits.
const ChallengeHeader = "X-Hopgate-Challenge"

const (
	nonceSize = 32
	mostSaid  = 4 << 10 // bytes of the answer to a challenge, head and body
)

// Prove answers the challenge of another data plane. It reports false, and has answered nothing, unless that is one of this fleet that means this
// very process at this very address: any other is to be answered like a path that isn't there, which tells strangers nothing. What that costs is
// less than an unknown API key.
func (p *Peers) Prove(in *request.Inbound, sink reply.Sink) bool {
	values := in.Header[ChallengeHeader]
	if len(values) != 1 || in.Method != http.MethodGet || p.self.address == "" {
		return false
	}
	ring, now := p.ring(), p.cfg.Now()
	asked, err := seal.OpenToken(ring, seal.Challenge, values[0], p.self.process, p.self.address, now)
	if err != nil || len(asked.Payload) != nonceSize || asked.Expires.Sub(asked.Issued) > noteLife || asked.Issued.After(now.Add(early)) {
		return false
	}
	asked.Purpose = seal.Proof
	proof, err := seal.Seal(ring, asked)
	if err != nil {
		return false
	}
	h := sink.Header()
	h["Content-Type"], h["Cache-Control"] = []string{"text/plain"}, []string{"no-store"}
	h["Content-Length"] = []string{strconv.Itoa(len(proof))}
	sink.WriteHeader(http.StatusOK)
	sink.Write([]byte(proof)) //nolint:errcheck // who asked is gone or not
	return true
}

// unproved is a connection on which the owner didn't prove itself. Nothing but a challenge went out.
type unproved struct{ err error }

func (e *unproved) Error() string {
	return "no proof that it is the session's data plane: " + e.err.Error()
}
func (e *unproved) Unwrap() error { return e.err }

var errSlow = errors.New("it didn't answer within " + proveTimeout.String())

// way makes the connections to other data planes. Each has proved itself before it is used.
func (p *Peers) way() *http.Transport {
	return &http.Transport{DialContext: p.dial, DialTLSContext: p.dial, ResponseHeaderTimeout: headTimeout,
		MaxIdleConnsPerHost: idlePerPeer, IdleConnTimeout: time.Minute, DisableCompression: true, MaxResponseHeaderBytes: 64 << 10}
}

// dial returns a connection on which the process that pool names has proved itself.
func (p *Peers) dial(ctx context.Context, network, pool string) (net.Conn, error) {
	at, ok := dialPlace(pool)
	if !ok {
		return nil, errors.New("peer: no place: " + pool)
	}
	address, name := at.dialled()
	conn, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if scheme, _ := at.parts(); scheme == "https" {
		conn, err = p.secure(ctx, conn, name)
	}
	if err == nil {
		err = p.challenge(ctx, conn, at)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// secure makes the TLS handshake. The connection it returns is to be closed in any case.
func (p *Peers) secure(ctx context.Context, conn net.Conn, name string) (net.Conn, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if p.cfg.TLS != nil {
		c = p.cfg.TLS.Clone()
	}
	if c.ServerName == "" {
		c.ServerName = name
	}
	c.NextProtos = []string{"http/1.1"}
	over := tls.Client(conn, c)
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return over, over.HandshakeContext(ctx)
}

// challenge has the process at the other end of conn prove that it is the one at a place. It is over within proveTimeout, or with ctx.
func (p *Peers) challenge(ctx context.Context, conn net.Conn, at place) error {
	by := time.Now().Add(proveTimeout)
	conn.SetDeadline(by)                                                         //nolint:errcheck // reads and writes fail as well then
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) }) //nolint:errcheck // as above
	err := p.ask(conn, at)
	switch {
	case !stop():
		return ctx.Err() // whatever was proved: the deadline is in the past
	case err != nil && !time.Now().Before(by):
		return &unproved{errSlow} // what was read until then may read as something else
	case err != nil:
		return &unproved{err}
	}
	return conn.SetDeadline(time.Time{})
}

// ask sends a challenge and judges the answer, of which it leaves nothing unread.
func (p *Peers) ask(conn net.Conn, at place) error {
	ring, now := p.ring(), p.cfg.Now()
	var nonce [nonceSize]byte
	rand.Read(nonce[:]) //nolint:errcheck // never fails (crypto/rand)
	challenge, err := seal.Seal(ring, seal.Token{Purpose: seal.Challenge, Principal: at.process, Endpoint: at.address, Issued: now,
		Expires: now.Add(noteLife), Payload: nonce[:]})
	if err != nil {
		return err
	}
	_, host := at.parts()
	if _, err := fmt.Fprintf(conn, "GET "+Door+" HTTP/1.1\r\nHost: %s\r\n"+ChallengeHeader+": %s\r\n\r\n", host, challenge); err != nil {
		return err
	}
	proof, err := answer(conn)
	if err != nil {
		return err
	}
	said, err := seal.Open(ring, seal.Proof, proof, at.process, at.address, p.cfg.Now())
	if err != nil {
		return fmt.Errorf("what it answered: %w", err)
	}
	if subtle.ConstantTimeCompare(said, nonce[:]) != 1 {
		return errors.New("it answered another challenge")
	}
	return nil
}

// answer reads one small response, which has to leave the connection ready for the next request.
func answer(conn net.Conn) (string, error) {
	r := bufio.NewReaderSize(io.LimitReader(conn, mostSaid), 1<<10)
	res, err := http.ReadResponse(r, &http.Request{Method: http.MethodGet}) //nolint:bodyclose // Close would wait for the rest of the body
	if err != nil {
		return "", fmt.Errorf("it answered no challenge: %w", err)
	}
	limit := int64(seal.Proof.Limit())
	if res.StatusCode != http.StatusOK || res.ContentLength < 1 || res.ContentLength > limit || res.Close {
		return "", fmt.Errorf("it answered with status %d and no proof; another program, a new process, or an earlier version?", res.StatusCode)
	}
	body, err := io.ReadAll(res.Body)
	switch {
	case err != nil:
		return "", fmt.Errorf("it answered half a proof: %w", err)
	case r.Buffered() > 0:
		return "", errors.New("it answered more than a proof")
	}
	return string(body), nil
}
