package peer_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/peer"
	"github.com/hopgate/hopgate/dataplane/request"
	"github.com/hopgate/hopgate/dataplane/request/seal"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
)

// forwarded is a request as it comes to an owner that hasn't looked at it yet. The owner's clock is what skew says.
func forwarded(t *testing.T, skew time.Duration) (p *peer.Peers, in *request.Inbound) {
	var o *owner
	ahead := false
	cfg := peer.Config{Table: holder(t, "a"), Now: func() time.Time {
		if !ahead {
			return time.Now()
		}
		return time.Now().Add(skew)
	}}
	o = ownerAt(t, "127.0.0.1:0", cfg, nil, fine)
	o.unread = true
	fatal(t, peers(t, peer.Config{Table: holder(t, "a")}).Forward(context.Background(), o.peer.Self(), message(), flusher{httptest.NewRecorder()}))
	ahead = true
	return o.peer, o.last
}

func TestNotesHoldForOneRequestOnceAndNotForLong(t *testing.T) {
	for what, c := range map[string]struct {
		skew   time.Duration
		change func(*request.Inbound)
		status int // 0: believed
	}{
		"as it was": {}, "late": {skew: 25 * time.Second}, "too late": {skew: 31 * time.Second, status: 403}, "before its time": {skew: -time.Minute, status: 403},
		"another session": {change: func(in *request.Inbound) { in.Query = "session=y" }, status: 403},
		"another method":  {change: func(in *request.Inbound) { in.Method = "GET" }, status: 403},
		"two notes": {change: func(in *request.Inbound) {
			in.Header[peer.Header] = append(in.Header[peer.Header], "x")
		}, status: 403},
		"a header beside it": {change: func(in *request.Inbound) { in.Header["Authorization"] = []string{"Bearer other"} }},
	} {
		p, in := forwarded(t, c.skew)
		if c.change != nil {
			c.change(in)
		}
		as, isForwarded, err := p.Arrived(in)
		switch {
		case c.status != 0:
			if f := fault.As(err); f == nil || f.HTTPStatus() != c.status || isForwarded {
				t.Errorf("%s: %v", what, err)
			}
			continue
		case err != nil || !isForwarded || as.Header.Get("Authorization") != "Bearer k":
			t.Errorf("%s: %v", what, err)
		}
		if _, _, err := p.Arrived(in); fault.As(err) == nil || fault.As(err).HTTPStatus() != 403 {
			t.Errorf("%s, and again: %v", what, err)
		}
	}
}

func TestNotesAreForOneProcess(t *testing.T) {
	_, in := forwarded(t, 0)
	for secret, status := range map[string]int{"a": 404, "b": 403} {
		p := peers(t, peer.Config{Table: holder(t, secret), Advertise: "http://" + in.Host})
		if _, _, err := p.Arrived(in); fault.As(err) == nil || fault.As(err).HTTPStatus() != status {
			t.Errorf("ring %s: %v", secret, err)
		}
	}
}

func TestHeadersThatDontFitAreRefused(t *testing.T) {
	o := newOwner(t, "a", fine)
	p := peers(t, peer.Config{Table: holder(t, "a")})
	for size, status := range map[int]int{20 << 10: 0, 24 << 10: 431, 40 << 10: 431} {
		in, w := message(), httptest.NewRecorder()
		in.Header["X-Long"] = []string{strings.Repeat("x", size)}
		o.last = nil
		err := p.Forward(context.Background(), o.peer.Self(), in, flusher{w})
		f := fault.As(err)
		switch {
		case status == 0 && (err != nil || w.Code != 202 || o.as.Header.Get("X-Long") != in.Header.Get("X-Long")):
			t.Errorf("%d bytes: %v %d", size, err, w.Code)
		case status != 0 && (f == nil || f.HTTPStatus() != status || o.last != nil || f.Kind != fault.TooLarge):
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	in := message()
	in.Query += strings.Repeat("x", 31<<10)
	if f := fault.As(p.Forward(context.Background(), o.peer.Self(), in, flusher{httptest.NewRecorder()})); f == nil || f.HTTPStatus() != 431 {
		t.Errorf("a long query: %v", f)
	}
}

// In a rolling upgrade sessions of one version are lost to the other, and neither asks for more than that.
func TestEarlierVersionsAreLostSessions(t *testing.T) {
	h := holder(t, "a")
	p := peers(t, peer.Config{Table: h, Advertise: "http://10.0.0.5:4000"})
	lost := func(what string, err error) {
		if f := fault.As(err); f == nil || f.HTTPStatus() != 404 || f.JSONRPCCode() != fault.CodeSession {
			t.Errorf("%s: %v", what, err)
		}
	}
	in := message()
	note := seal.Token{Principal: "data plane to data plane", Endpoint: "POST /up/message?session=x", Payload: []byte("\x01r\x01h\x01p\x00")}
	in.Header[peer.Header] = []string{sealed(t, h, note)}
	_, _, err := p.Arrived(in)
	lost("its note", err)
	o := newOwner(t, "a", fine)
	lost("its owner", p.Forward(context.Background(), o.url, message(), flusher{httptest.NewRecorder()}))
	if o.last != nil || o.challenges.Load() != 0 {
		t.Error("an owner without a process was asked")
	}
	_, _, err = p.Find(sealed(t, h, seal.Token{Principal: "k", Endpoint: "e", Payload: []byte("\x14http://10.0.0.5:4000\x02id")}), "k", "e")
	lost("its stream", err)
	if _, err := url.Parse(p.Self() + "/up/message"); err == nil {
		t.Error("an earlier version would take the name of an owner for an address")
	}
	if _, err := http.NewRequest(http.MethodPost, p.Self()+"/up/message?session=x", nil); err == nil {
		t.Error("an earlier version would ask somebody")
	}
}

// sealed is a token as an earlier version made it.
func sealed(t *testing.T, h *table.Holder, token seal.Token) string {
	t.Helper()
	token.Purpose, token.Issued, token.Expires = seal.Peer, time.Now(), time.Now().Add(30*time.Second)
	s, err := seal.Seal(h.Load().Ring("session"), token)
	fatal(t, err)
	return s
}
