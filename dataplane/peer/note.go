package peer

import (
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/hopgate/hopgate/dataplane/request"
	"github.com/hopgate/hopgate/dataplane/request/seal"
	"github.com/hopgate/hopgate/proto/fault"
)

// Header is where the note of the data plane that forwards stands.
const Header = "X-Hopgate-Forwarded"

// noOne is the principal of notes: no caller's id has a space.
const noOne = "data plane to data plane"

// target is what a note is bound to, beside the process that it is for.
func target(in *request.Inbound) string { return in.Method + " " + in.Path + "?" + in.Query }

// note seals what the caller's connection told, and the caller's header.
func (p *Peers) note(process string, in *request.Inbound) (string, error) {
	secure := ""
	if in.Secure {
		secure = "s"
	}
	var header []byte
	for name, values := range in.Header {
		if !ofConnection(name) {
			header = appendTexts(header, name, string(appendTexts(nil, values...)))
		}
	}
	now := p.cfg.Now()
	return seal.Seal(p.ring(), seal.Token{Purpose: seal.Note, Principal: noOne, Endpoint: target(in), Issued: now, Expires: now.Add(noteLife),
		Payload: appendTexts(nil, process, in.Remote, in.Host, in.Proto, secure, string(appendTexts(nil, in.Names...)), string(header))})
}

// Arrived tells how a request is to be seen. One that another data plane forwarded is the caller's own again: with the header, address, host,
// TLS and names that the note tells, and nothing that stands beside it. Any other is in itself. The error is a fault, and the request must not
// be served then: 404, a lost session, when the note is for another process or of an earlier version; else 403.
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
	t, err := seal.OpenToken(p.ring(), seal.Note, values[0], noOne, target(in), now)
	switch {
	case err != nil && p.earlier(in, values[0]):
		return nil, false, notFound("data planes of different versions don't hand requests on to each other", "begin anew", err)
	case err != nil:
		return nil, false, disbelieved(err)
	case t.Expires.Sub(t.Issued) > noteLife || t.Issued.After(now.Add(early)):
		return nil, false, disbelieved(seal.ErrExpired)
	}
	told, ok := cutTexts(t.Payload)
	switch {
	case !ok || len(told) != 7:
		return nil, false, disbelieved(errNote)
	case told[0] != p.self.process:
		return nil, false, notFound("it was held by a data plane that isn't here any more", "begin anew", nil)
	}
	own := *in
	own.Remote, own.Host, own.Proto, own.Secure = told[1], told[2], told[3], told[4] == "s"
	names, ok := cutTexts([]byte(told[5]))
	header, whole := cutHeader([]byte(told[6]))
	if !ok || !whole {
		return nil, false, disbelieved(errNote)
	}
	if !p.notes.first(values[0], now) {
		return nil, false, disbelieved(errTwice)
	}
	if length := in.Header["Content-Length"]; length != nil {
		header["Content-Length"] = length
	}
	own.Names, own.Header = names, header
	return &own, true, nil
}

// earlier reports whether a note is a genuine one of an earlier version, whose sender told the caller's header beside it.
func (p *Peers) earlier(in *request.Inbound, note string) bool {
	_, err := seal.Open(p.ring(), seal.Peer, note, noOne, target(in), p.cfg.Now())
	return err == nil
}

func cutHeader(b []byte) (http.Header, bool) {
	told, ok := cutTexts(b)
	if !ok || len(told)%2 != 0 {
		return nil, false
	}
	h := make(http.Header, len(told)/2+1)
	for i := 0; i < len(told); i += 2 {
		if h[told[i]], ok = cutTexts([]byte(told[i+1])); !ok {
			return nil, false
		}
	}
	return h, true
}

var (
	errNote  = errors.New("the note isn't whole")
	errTwice = errors.New("the note came before")
)

func disbelieved(cause error) error {
	return &fault.Error{Hop: fault.Gateway, Phase: fault.Policy, Kind: fault.Denied, Status: http.StatusForbidden, Err: cause,
		Message: "the request says that another data plane forwarded it, and that isn't so",
		Hint:    "leave out " + Header + "; data planes need the same sealing ring and clocks that agree"}
}

// once remembers notes for as long as they hold, so that each serves once: whoever saw one on the way can't send a request of his own with it.
// Only the fleet's own notes get here; two generations of them are kept.
type once struct {
	mu          sync.Mutex
	now, before map[mark]struct{} // guarded by mu
	turned      time.Time         // guarded by mu
}

// mark is the end of a token, which is its authenticator.
type mark [20]byte

// first reports whether a genuine note comes for the first time.
func (o *once) first(note string, now time.Time) bool {
	m := mark([]byte(note[len(note)-len(mark{}):]))
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.now == nil || now.Sub(o.turned) > noteLife+early {
		o.now, o.before, o.turned = map[mark]struct{}{}, o.now, now
	}
	_, is := o.now[m]
	_, was := o.before[m]
	o.now[m] = struct{}{}
	return !is && !was
}
