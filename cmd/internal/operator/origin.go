package operator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/textproto"
	"strings"

	"github.com/hopgate/hopgate/dataplane/request/origin"
	"github.com/hopgate/hopgate/dataplane/table"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	"github.com/hopgate/hopgate/proto/overlay"
	"github.com/hopgate/hopgate/proto/redact"
)

// OriginQuestion is a request as a data plane could get it, of which only matters where it comes from.
type OriginQuestion struct {
	// Peer is the address that connects, with or without a port; Host the Host header; TLS says that the listener speaks TLS.
	Peer, Host string
	TLS        bool
	// Headers are "Name: value", in the order in which they are sent.
	Headers []string
	// Region and Group say where the data plane stands.
	Region, Group string
	// RedirectURI is checked as an OAuth client's; empty: none.
	RedirectURI string
}

// Origin is what a data plane would make of it.
type Origin struct {
	Explanation origin.Explanation `json:"explanation"`
	// Redirect is empty when no redirect URI was asked about, or it is allowed.
	Redirect string `json:"redirect_refused,omitempty"`
	// Notes are what data planes have against ingresses.
	Notes []string `json:"notes,omitempty"`

	asked string // the redirect URI
}

// request reads the question; the error names the flag.
func (q OriginQuestion) request() (*origin.Request, error) {
	r := &origin.Request{Remote: q.Peer, Host: q.Host, Secure: q.TLS, Header: http.Header{}}
	if a, err := netip.ParseAddr(strings.Trim(q.Peer, "[]")); err == nil {
		r.Remote = net.JoinHostPort(a.String(), "0")
	} else if _, err := netip.ParseAddrPort(q.Peer); err != nil {
		return nil, fmt.Errorf("--peer %q: give the address of who connects to the data plane, like 10.0.0.5", q.Peer)
	}
	for _, h := range q.Headers {
		name, value, ok := strings.Cut(h, ":")
		if name = strings.TrimSpace(name); !ok || name == "" {
			return nil, fmt.Errorf("--header %q: write it like 'X-Forwarded-For: 203.0.113.7'", redact.Text(h))
		}
		name = textproto.CanonicalMIMEHeaderKey(name)
		r.Header[name] = append(r.Header[name], strings.TrimSpace(value))
	}
	return r, nil
}

// Check reports what is wrong with the question.
func (q OriginQuestion) Check() error {
	_, err := q.request()
	return err
}

// Run fetches the ingresses, compiles them as a data plane of the region does, and asks its code.
func (q OriginQuestion) Run(ctx context.Context, c adminv1.AdminServiceClient) (*Origin, error) {
	r, err := q.request()
	if err != nil {
		return nil, err
	}
	_, ingresses, err := Get(ctx, c, "ingress", "")
	if err != nil {
		return nil, err
	}
	over, err := overlays(ctx, c, ingresses)
	if err != nil {
		return nil, err
	}
	t, notes, err := compiled(overlay.Place{Region: q.Region, Group: q.Group}, append(ingresses, over...)...)
	if err != nil {
		return nil, err
	}
	return q.ask(r, t, notes), nil
}

func (q OriginQuestion) ask(r *origin.Request, t *table.Table, notes []string) *Origin {
	l, ing := &origin.Listener{Secure: q.TLS}, t.Ingress()
	out := &Origin{Explanation: l.Explain(r, ing), Notes: notes, asked: q.RedirectURI}
	if q.RedirectURI == "" {
		return out
	}
	facts := l.Settle(r, ing)
	base, _ := l.Origin(&facts, ing)
	if err := l.Redirect(q.RedirectURI, base, ing); err != nil {
		out.Redirect = err.Error()
		if re := new(origin.RedirectError); errors.As(err, &re) {
			out.Redirect = re.Description + "; " + re.Hint
		}
	}
	return out
}

// Print writes the answer for people, or as JSON.
func (o *Origin) Print(w io.Writer, format string) error {
	if format == JSON {
		return encode(w, o)
	}
	fmt.Fprintln(w, printable(strings.TrimSpace(o.Explanation.String()), '\n', '\t'))
	for _, n := range o.Notes {
		fmt.Fprintln(w, "note: "+clean(n))
	}
	if o.asked != "" && o.Redirect == "" {
		fmt.Fprintln(w, "redirect URI "+clean(o.asked)+": allowed")
	}
	return nil
}

// Refused is what ends the command when the redirect URI isn't allowed.
func (o *Origin) Refused() error {
	if o.Redirect == "" {
		return nil
	}
	return fmt.Errorf("redirect URI %s: refused: %s", clean(o.asked), clean(o.Redirect))
}

// Whereabouts asks a data plane how it sees this caller and writes its answer as JSON.
func (g Gateway) Whereabouts(ctx context.Context, out io.Writer) error {
	way := &keyed{key: g.Key, next: &http.Transport{TLSClientConfig: g.TLS, ForceAttemptHTTP2: true, Proxy: http.ProxyFromEnvironment}}
	defer way.next.CloseIdleConnections()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(g.URL, "/")+"/v1/mcp/network/client-ip", nil)
	if err != nil {
		return err
	}
	res, err := way.RoundTrip(r)
	if err != nil {
		return fmt.Errorf("ask %s: %w", g.URL, err)
	}
	defer res.Body.Close()
	const most = 256 << 10
	body, err := io.ReadAll(io.LimitReader(res.Body, most))
	switch {
	case err != nil:
		return fmt.Errorf("ask %s: %w", g.URL, err)
	case res.StatusCode != http.StatusOK:
		return way.explain(fmt.Errorf("%s answered %s: is it a data plane of this version?", g.URL, clean(res.Status)))
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, bytes.TrimSpace(body), "", "  "); err != nil {
		return fmt.Errorf("%s didn't answer with JSON: is it a data plane?", g.URL)
	}
	_, err = fmt.Fprintln(out, printable(pretty.String(), '\n'))
	return err
}
