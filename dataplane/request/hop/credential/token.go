package credential

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/hopgate/hopgate/dataplane/egress"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
)

const (
	mostWait    = 10 * time.Second // for an authorization server
	answerLimit = 64 << 10         // bytes of its answer
	retries     = 1
)

// Words of RFC 6749 and RFC 8693.
const (
	grantMachine    = "client_credentials"
	grantExchange   = "urn:ietf:params:oauth:grant-type:token-exchange"
	typeAccessToken = "urn:ietf:params:oauth:token-type:access_token"
	typeJWT         = "urn:ietf:params:oauth:token-type:jwt"
)

// order is one token to be fetched.
type order struct {
	server  *table.Server
	secret  *table.Secret
	subject string    // the caller's JWT; empty with client_credentials
	end     time.Time // of the subject; zero: not known
	holds   func(string) bool
}

// phase is where faults of the order belong.
func (o *order) phase() fault.Phase {
	if o.server.Auth.Flow == flowExchange {
		return fault.Exchange
	}
	return fault.Token
}

// bearer returns the Authorization of an oauth2 server.
func (r *Resolver) bearer(ctx context.Context, a *Ask, rd *ready) (value, label string, err error) {
	e, label := rd.owner, Machine
	if a.Server.Auth.Flow == flowExchange {
		if a.Subject == "" || !a.Expires.IsZero() && !r.cfg.Now().Before(a.Expires) {
			return "", Exchanged, nothingToExchange(a.Server.Name)
		}
		touch(&e.used, r.cfg.Now())
		k := e.key.of(a.Subject)
		e, label = r.shardOf(k).entry(k, e), Exchanged
	}
	value, err = e.value(ctx, r.cfg.Now, func(ctx context.Context) (*token, *fault.Error) {
		t, f := r.fetch(ctx, &order{server: e.server, secret: e.secret, subject: a.Subject, end: a.Expires, holds: a.Holds})
		r.worry(e, f)
		return t, f
	})
	return value, label, err
}

// worry logs that a token wasn't renewed while the old one is still good.
func (r *Resolver) worry(e *entry, f *fault.Error) {
	if now := r.cfg.Now(); f != nil && e.token.Load().lives(now) && e.mayLog(now) {
		r.cfg.Log.Warn("a token couldn't be renewed; the old one is used until its end", "server", e.server.Name, "error", f)
	}
}

// fetch asks the token endpoint.
func (r *Resolver) fetch(ctx context.Context, o *order) (*token, *fault.Error) {
	at := r.cfg.Now()
	limit := patience(&o.server.Timeouts)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	secret := o.secret.Value.Reveal()
	if o.holds != nil && o.holds(secret) {
		return nil, fault.As(heldLeak(o.server.Name, "the client secret"))
	}
	answer, err := r.cfg.Egress.Do(ctx, o.request(secret, limit))
	if err != nil {
		return nil, o.failed(err)
	}
	t, f := o.read(answer, at)
	if f != nil {
		f.UpstreamStatus = answer.Status
	}
	return t, f
}

// patience is how long a caller may wait for the authorization server: as for the server itself, and never longer than mostWait.
func patience(t *table.Timeouts) time.Duration {
	if t.Connect <= 0 || t.FirstByte <= 0 {
		return mostWait
	}
	return min(t.Connect+t.FirstByte, mostWait)
}

// request is RFC 6749 section 4.4.2, or RFC 8693 section 2.1, with RFC 8707's resource.
func (o *order) request(secret string, limit time.Duration) *egress.Request {
	t := o.server.Auth.Token
	form := url.Values{"grant_type": {grantMachine}}
	if o.server.Auth.Flow == flowExchange {
		form = url.Values{"grant_type": {grantExchange}, "subject_token": {o.subject}, "subject_token_type": {typeAccessToken},
			"requested_token_type": {typeAccessToken}}
		set(form, "audience", t.Audience)
	}
	set(form, "scope", strings.Join(t.Scopes, " "))
	set(form, "resource", t.Resource)
	h := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Accept": {"application/json"}}
	if t.Post {
		set(form, "client_id", t.ClientID)
		set(form, "client_secret", secret)
	} else { // RFC 6749 section 2.3.1: both are form-encoded first
		h[authorization] = []string{basic(url.QueryEscape(t.ClientID), url.QueryEscape(secret))}
	}
	q := &egress.Request{Method: http.MethodPost, URL: t.URL, Header: h, Body: []byte(form.Encode()), Limit: answerLimit, Timeout: limit,
		Retries: retries, Phase: o.phase()}
	if t.Target != nil {
		q.TLS = t.Target.TLS
	}
	return q
}

func set(form url.Values, name, value string) {
	if value != "" {
		form[name] = []string{value}
	}
}
