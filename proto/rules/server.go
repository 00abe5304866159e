package rules

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"time"

	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

const (
	mostEndpoints = 32
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
	vs.word("spec.transport", spec.GetTransport(), "streamable_http")
	vs.endpoints("spec.endpoints", spec.GetEndpoints())
	vs.word("spec.protocol", spec.GetProtocol(), "auto", "modern", "legacy")
	vs.auth("spec.auth.", spec.GetAuth())
	vs.timeouts("spec.timeouts", spec.GetTimeouts())
	vs.tls("spec.tls", spec.GetTls(), spec.GetEndpoints())
	vs.word("spec.reachable_from", spec.GetReachableFrom(), "any", "internal")
	vs.ranges("spec.allowed_cidrs", spec.GetAllowedCidrs(), nil)
	vs.accessGroups("spec.access_groups", spec.GetAccessGroups(), s.GetName())
	vs.headers("spec.", spec)
	vs.limits("spec.limits", spec.GetLimits())
	vs.toolLimits("spec.tool_limits", spec.GetToolLimits())
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

// coverage checks that no region is served by two endpoints.
func (vs *Violations) coverage(field string, endpoints []*configv1.Endpoint) {
	taken := map[string]string{} // region to the path that took it
	everywhere := ""             // path of an endpoint for all regions
	for i, e := range endpoints {
		at := element(field, i)
		if len(e.GetRegions()) == 0 {
			if i > 0 {
				vs.add(at+".regions", "is empty, which means all regions, and there are other endpoints", "name its regions: a region has one endpoint")
			}
			everywhere = at
			continue
		}
		if len(e.GetRegions()) > mostRegions {
			vs.add(at+".regions", fmt.Sprintf("there are %d regions", len(e.GetRegions())), fmt.Sprintf("at most %d are possible", mostRegions))
		}
		if everywhere != "" {
			vs.add(at+".regions", "has regions that "+everywhere+" has already: it names none, which means all", "name the regions of "+everywhere)
		}
		for j, r := range e.GetRegions() {
			path := element(at+".regions", j)
			vs.region(path, r)
			if first, ok := taken[r]; ok {
				vs.add(path, quote(r)+" is in "+first+" already", "a region has one endpoint: remove one of the two")
				continue
			}
			taken[r] = path
		}
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
