package rules

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"

	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

const (
	mostEndpoints = 256
	mostInstances = 32 // endpoints of one region
	mostRegions   = 64
	mostGroups    = 64
	mostPEM       = 64 << 10
)

// Server returns everything that is wrong with a server.
func Server(s *configv1.Server) Violations {
	var vs Violations
	vs.serverName("name", s.GetName())
	vs.labels(s.GetLabels())
	spec := s.GetSpec()
	vs.transport("spec.", spec)
	vs.endpoints("spec.endpoints", spec.GetEndpoints())
	vs.auth("spec.auth.", spec.GetAuth())
	vs.timeouts("spec.timeouts", spec.GetTimeouts())
	vs.tls("spec.tls", spec.GetTls(), spec.GetEndpoints())
	vs.word("spec.reachable_from", spec.GetReachableFrom(), "any", "internal")
	vs.ranges("spec.allowed_cidrs", spec.GetAllowedCidrs(), nil)
	vs.accessGroups("spec.access_groups", spec.GetAccessGroups(), s.GetName())
	vs.headers("spec.", spec)
	vs.limits("spec.limits", spec.GetLimits())
	vs.toolLimits("spec.tool_limits", spec.GetToolLimits())
	vs.serverTools("spec.tools", spec.GetTools())
	vs.resilience("spec.resilience", spec.GetResilience())
	vs.behaviour("spec.", spec)
	return vs
}

func (vs *Violations) endpoints(field string, endpoints []*configv1.Endpoint) {
	if len(endpoints) == 0 {
		vs.add(field, "is empty", `add one, for example {url: "http://127.0.0.1:3001/mcp"}`)
	}
	if len(endpoints) > mostEndpoints {
		vs.add(field, fmt.Sprintf("there are %d endpoints", len(endpoints)), fmt.Sprintf("at most %d are possible", mostEndpoints))
	}
	for i, e := range endpoints {
		vs.url(element(field, i)+".url", e.GetUrl())
	}
	vs.coverage(field, endpoints)
}

// transport checks how messages are exchanged with the server, and which revisions of MCP that leaves. path ends in a dot.
func (vs *Violations) transport(path string, spec *configv1.ServerSpec) {
	vs.word(path+"transport", spec.GetTransport(), "streamable_http", "sse")
	vs.word(path+"protocol", spec.GetProtocol(), "auto", "modern", "legacy")
	if spec.GetTransport() == "sse" && spec.GetProtocol() == "modern" {
		vs.add(path+"protocol", "is modern, and transport sse is that of revision 2024-11-05", "write legacy or leave it out, or write transport streamable_http")
	}
}

// behaviour checks what counts for calls through endpoints of several servers. path ends in a dot.
func (vs *Violations) behaviour(path string, spec *configv1.ServerSpec) {
	vs.word(path+"sessions", spec.GetSessions(), "ephemeral", "required")
	vs.span(path+"list_ttl", spec.GetListTtl(), time.Millisecond, 24*time.Hour, "to serve nothing from memory")
}

// region is what is known of one while its endpoints are counted.
type region struct {
	urls map[string]string // to the path of the endpoint
	told bool
}

// coverage checks the endpoints of each region: those that name it, or else those that name none.
func (vs *Violations) coverage(field string, endpoints []*configv1.Endpoint) {
	seen := map[string]*region{} // the empty name: of endpoints that name none
	for i, e := range endpoints {
		at := element(field, i)
		if len(e.GetRegions()) == 0 {
			vs.instance(seen, "", at, at+".url", e.GetUrl())
		}
		vs.list(at+".regions", e.GetRegions(), mostRegions, "regions", func(path, r string) string {
			before := len(*vs)
			vs.region(path, r)
			return vs.keyed(before, r)
		})
		for j, r := range e.GetRegions()[:min(len(e.GetRegions()), mostRegions)] {
			if r != "" && slices.Index(e.GetRegions(), r) == j {
				vs.instance(seen, r, at, element(at+".regions", j), e.GetUrl())
			}
		}
	}
}

// instance counts an endpoint for a region; path is what to name when that is too much.
func (vs *Violations) instance(seen map[string]*region, name, at, path, url string) {
	r := seen[name]
	if r == nil {
		r = &region{urls: map[string]string{}}
		seen[name] = r
	}
	of := "all regions that no other endpoint names"
	if name != "" {
		of = "region " + quote(name)
	}
	first, twice := r.urls[url]
	switch {
	case url == "":
	case twice:
		vs.add(path, "has the same URL for "+of+" as "+first, "remove one of the two: endpoints of one region are its instances, and calls are spread over them")
	case len(r.urls) == mostInstances && !r.told:
		r.told = true
		vs.add(path, fmt.Sprintf("is one more endpoint for %s than the %d that are possible", of, mostInstances), "put a load balancer in front of some, and name that")
	default:
		r.urls[url] = at
	}
}

func (vs *Violations) accessGroups(field string, given []string, server string) {
	vs.list(field, given, mostGroups, "access groups", func(path, name string) string {
		before := len(*vs)
		vs.pathName(path, name, "group")
		if name != "" && name == server {
			vs.add(path, quote(name)+" is the server's own name", "choose another name: servers, toolsets and access groups share one namespace")
		}
		return vs.keyed(before, name)
	})
}

func (vs *Violations) timeouts(field string, t *configv1.Timeouts) {
	const least = time.Millisecond
	vs.duration(field+".connect", t.GetConnect(), least, 5*time.Minute, false)
	vs.duration(field+".first_byte", t.GetFirstByte(), least, time.Hour, false)
	vs.duration(field+".idle", t.GetIdle(), least, 24*time.Hour, false)
	vs.duration(field+".total", t.GetTotal(), least, 24*time.Hour, true)
	vs.duration(field+".list", t.GetList(), least, 5*time.Minute, false)
}

func (vs *Violations) tls(field string, t *configv1.UpstreamTLS, endpoints []*configv1.Endpoint) {
	if t.GetCaPem() == "" && t.GetServerName() == "" {
		return
	}
	for i, e := range endpoints {
		if scheme, _, _ := strings.Cut(e.GetUrl(), ":"); strings.EqualFold(scheme, "http") {
			vs.add(field, fmt.Sprintf("is set, but spec.endpoints[%d].url is http, which has no certificate to verify", i), "use https there, or remove spec.tls")
		}
	}
	vs.trust(field, t)
}

// trust checks how certificates are verified, wherever they come from.
func (vs *Violations) trust(field string, t *configv1.UpstreamTLS) {
	if t.GetCaPem() != "" {
		vs.certificates(field+".ca_pem", t.GetCaPem())
	}
	if name := t.GetServerName(); name != "" && !isHost(name) {
		vs.add(field+".server_name", "is not a host name", "write a name like mcp.example.com, without scheme and port")
	}
}

func (vs *Violations) certificates(field, text string) {
	if len(text) > mostPEM {
		vs.add(field, fmt.Sprintf("is %d bytes long", len(text)), fmt.Sprintf("at most %d are possible", mostPEM))
		return
	}
	const fix = "write certificates in PEM form, each from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----"
	rest, n := []byte(text), 0
	for len(strings.TrimSpace(string(rest))) > 0 {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		switch {
		case block == nil && n == 0:
			vs.add(field, "is not PEM", fix)
			return
		case block == nil:
			vs.add(field, fmt.Sprintf("has something after certificate %d that is not PEM", n), fix)
			return
		case strings.Contains(block.Type, "PRIVATE KEY"):
			vs.add(field, "contains a private key", "remove it: only certificates belong here, and change that key since it was shown")
			return
		case block.Type != "CERTIFICATE":
			vs.add(field, "contains a PEM block that is not a certificate", fix)
			return
		}
		n++
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			vs.add(field, fmt.Sprintf("certificate %d cannot be read", n), "export it anew; its content is damaged")
		}
	}
	if n == 0 {
		vs.add(field, "is blank", fix)
	}
}
