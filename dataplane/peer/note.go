package peer

import (
	"net/http"

	"github.com/hopgate/hopgate/dataplane/request"
	"github.com/hopgate/hopgate/dataplane/request/seal"
	"github.com/hopgate/hopgate/proto/fault"
)

// noOne is the principal of notes: no caller's id has a space.
const noOne = "data plane to data plane"

// target is what a note is bound to.
func target(in *request.Inbound) string { return in.Method + " " + in.Path + "?" + in.Query }

// note seals what the caller's connection told.
func (p *Peers) note(in *request.Inbound) (string, error) {
	secure := ""
	if in.Secure {
		secure = "s"
	}
	now := p.cfg.Now()
	payload := appendTexts(nil, in.Remote, in.Host, in.Proto, secure)
	return seal.Seal(p.ring(), seal.Token{Purpose: seal.Peer, Principal: noOne, Endpoint: target(in), Issued: now, Expires: now.Add(noteLife),
		Payload: appendTexts(payload, in.Names...)})
}

// Arrived tells how a request is to be seen. One that another data plane forwarded is the caller's own again: with the address, host, TLS and
// names that the note tells, and without the note. Any other is in itself. The error, a fault with 403, is of a note that isn't believed; the
// request must not be served then.
func (p *Peers) Arrived(in *request.Inbound) (as *request.Inbound, forwarded bool, err error) {
	values := in.Header[Header]
	switch len(values) {
	case 0:
		return in, false, nil
	case 1:
	default:
		return nil, false, disbelieved(nil)
	}
	now := p.cfg.Now()
	t, err := seal.OpenToken(p.ring(), seal.Peer, values[0], noOne, target(in), now)
	if err != nil {
		return nil, false, disbelieved(err)
	}
	if t.Expires.Sub(t.Issued) > noteLife || t.Issued.After(now.Add(early)) {
		return nil, false, disbelieved(seal.ErrExpired)
	}
	told, ok := cutTexts(t.Payload)
	if !ok || len(told) < 4 {
		return nil, false, disbelieved(nil)
	}
	own := *in
	own.Header = in.Header.Clone()
	delete(own.Header, Header)
	own.Remote, own.Host, own.Proto, own.Secure, own.Names = told[0], told[1], told[2], told[3] == "s", told[4:]
	return &own, true, nil
}

func disbelieved(cause error) error {
	return &fault.Error{Hop: fault.Gateway, Phase: fault.Policy, Kind: fault.Denied, Status: http.StatusForbidden, Err: cause,
		Message: "the request says that another data plane forwarded it, and that isn't so",
		Hint:    "leave out " + Header + "; data planes need the same sealing ring and clocks that agree"}
}
