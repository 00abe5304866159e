package reply_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hopgate/hopgate/dataplane/request/reply"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
)

func serverNamed(name, authType, transport, url string) *table.Server {
	s := &table.Server{Name: name, Transport: transport}
	s.Auth.Type = authType
	if url != "" {
		s.Target = &table.Target{Masked: url}
	}
	return s
}

// diagnosed returns the diagnostic headers of an answer, without what they begin with.
func diagnosed(p *table.Principal, legs *reply.Legs) map[string]string {
	r, s, rec := begin()
	rec.Debug, rec.Era, rec.Revision, rec.ConfigRevision, r.InboundAuth, r.Principal, r.Legs = true, "legacy", "2025-11-25", 7, "(none)", p, legs
	r.Whole(200, reply.JSON(), nil)
	got := map[string]string{}
	for k, v := range s.header {
		if name, ok := strings.CutPrefix(k, "X-Mcp-Debug-"); ok {
			got[name] = v[0]
		}
	}
	delete(got, "Inbound-Auth")
	delete(got, "Hops")
	return got
}

func TestDiagnosticsOfSeveralServers(t *testing.T) {
	plain := reply.Leg{Server: serverNamed("alpha", "", "streamable_http", "http://a/mcp")}
	alike := reply.Leg{Server: serverNamed("beta", "none", "streamable_http", "http://b/mcp"), Revision: "2025-06-18"}
	held := reply.Leg{Server: serverNamed("gamma", "bearer", "sse", "http://c/sse"), Resolution: "static-token", Token: "(gateway-held)", Instance: "2"}
	away := reply.Leg{Server: serverNamed("delta", "bearer", "streamable_http", ""), Resolution: "resolution-failed", Fault: refused}
	kept := reply.Leg{Server: held.Server, Kept: true}
	leaky := reply.Leg{Server: alike.Server, Resolution: "per-request-header", Token: "Bearer****6789", Fault: &fault.Error{Kind: fault.CredentialLeak}}
	const ours = "region=eu; era=legacy; revision=2025-11-25; bridged=false; config_revision=7"
	for _, c := range []struct {
		name string
		legs []reply.Leg
		want map[string]string
	}{
		{"none was asked", nil, map[string]string{"Route": ours}},
		{"one", []reply.Leg{held}, map[string]string{"Oauth2-Token": "(gateway-held)", "Auth-Resolution": "static-token", "Server-Auth-Type": "bearer",
			"Outbound-Url": "gamma=http://c/sse", "Route": ours + ", server=gamma; transport=sse; instance=2"}},
		{"alike", []reply.Leg{alike, plain}, map[string]string{"Oauth2-Token": "(none)", "Auth-Resolution": "no-auth", "Server-Auth-Type": "none",
			"Outbound-Url": "alpha=http://a/mcp; beta=http://b/mcp",
			"Route":        ours + ", server=alpha; transport=streamable_http, server=beta; transport=streamable_http; revision=2025-06-18"}},
		{"different", []reply.Leg{held, plain}, map[string]string{"Oauth2-Token": "alpha=(none); gamma=(gateway-held)", "Auth-Resolution": "multiple",
			"Server-Auth-Type": "alpha=none; gamma=bearer", "Outbound-Url": "alpha=http://a/mcp; gamma=http://c/sse",
			"Route": ours + ", server=alpha; transport=streamable_http, server=gamma; transport=sse; instance=2"}},
		{"from memory", []reply.Leg{kept}, map[string]string{"Server-Auth-Type": "bearer", "Route": ours + ", server=gamma; transport=sse; from=memory"}},
		{"one of them from memory", []reply.Leg{kept, plain, {Server: plain.Server, Kept: true}}, map[string]string{"Oauth2-Token": "(none)", "Auth-Resolution": "no-auth",
			"Server-Auth-Type": "alpha=none; gamma=bearer", "Outbound-Url": "alpha=http://a/mcp",
			"Route": ours + ", server=alpha; transport=streamable_http, server=gamma; transport=sse; from=memory"}},
		{"without an address", []reply.Leg{away}, map[string]string{"Oauth2-Token": "(none)", "Auth-Resolution": "resolution-failed", "Server-Auth-Type": "bearer",
			"Route": ours + ", server=delta; transport=streamable_http"}},
		{"a credential stopped", []reply.Leg{leaky, plain}, map[string]string{"Oauth2-Token": "alpha=(none); beta=SAME_AS_LITELLM_KEY - likely misconfigured",
			"Auth-Resolution": "multiple", "Server-Auth-Type": "none", "Outbound-Url": "alpha=http://a/mcp; beta=http://b/mcp",
			"Route": ours + ", server=alpha; transport=streamable_http, server=beta; transport=streamable_http"}},
		{"one asked twice", []reply.Leg{plain, alike, {Server: plain.Server, Revision: "2025-03-26"}}, map[string]string{"Oauth2-Token": "(none)",
			"Auth-Resolution": "no-auth", "Server-Auth-Type": "none", "Outbound-Url": "alpha=http://a/mcp; beta=http://b/mcp",
			"Route": ours + ", server=alpha; transport=streamable_http; revision=2025-03-26, server=beta; transport=streamable_http; revision=2025-06-18"}},
	} {
		legs := new(reply.Legs)
		for _, l := range c.legs {
			legs.Add(l)
		}
		if got := diagnosed(&table.Principal{Debug: true}, legs); !maps.Equal(got, c.want) {
			t.Errorf("%s:\n got %v\nwant %v", c.name, got, c.want)
		}
		delete(c.want, "Route")
		if got := diagnosed(&table.Principal{}, legs); !maps.Equal(got, c.want) {
			t.Errorf("%s, without the role: %v", c.name, got)
		}
		if got := diagnosed(nil, legs); len(got) != 0 {
			t.Errorf("%s, not admitted: %v", c.name, got)
		}
	}
}

// Headers of many servers stay headers: what doesn't fit is counted.
func TestDiagnosticsOfManyServersAreBounded(t *testing.T) {
	legs := new(reply.Legs)
	for i := range 1000 {
		server := serverNamed(fmt.Sprintf("server_%04d", i), []string{"none", "bearer"}[i%2], "streamable_http", "http://127.0.0.1/"+strings.Repeat("x", 100))
		legs.Add(reply.Leg{Server: server, Resolution: []string{"no-auth", "static-token"}[i%2],
			Token: []string{"(none)", "(gateway-held)"}[i%2]})
	}
	for k, v := range diagnosed(&table.Principal{Debug: true}, legs) {
		if len(v) > 1100 || k != "Auth-Resolution" && (!strings.Contains(v, "server_0000") || !strings.Contains(v, "more=")) {
			t.Errorf("%s has %d bytes: %s", k, len(v), v)
		}
	}
}

// Legs end in goroutines of their own, some of them behind the answer, when the request's place is another one's.
func TestLegsEndWheneverTheyDo(t *testing.T) {
	r, _, rec := begin()
	r.Principal, r.Legs, rec.Debug = &table.Principal{}, new(reply.Legs), true
	legs := r.Legs
	var late, early sync.WaitGroup
	for i := range 20 {
		add := func() { legs.Add(reply.Leg{Server: serverNamed(fmt.Sprintf("s%02d", i), "", "", "http://h")}) }
		if i%2 == 0 {
			early.Go(add)
		} else {
			late.Go(add)
		}
	}
	early.Wait()
	r.Whole(200, nil, nil)
	if got := strings.Split(r.Sink.Header().Get("X-Mcp-Debug-Outbound-Url"), "; "); len(got) < 10 || !slices.IsSorted(got) {
		t.Errorf("%v", got)
	}
	r.Reset()
	if r.Legs != nil {
		t.Error("the next request begins with the legs of this one")
	}
	late.Wait()
	var nobody *reply.Legs
	nobody.Add(reply.Leg{})
}
