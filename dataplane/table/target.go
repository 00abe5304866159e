package table

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/redact"
)

// chooseTargets checks every endpoint and returns the instances for a region: the endpoints that name it, or, when none does, those without
// regions. Of two with one ID the first stays: that is one URL.
func chooseTargets(spec *configv1.ServerSpec, region string, n *notes) []*Target {
	if len(spec.GetEndpoints()) == 0 {
		n.reject("spec.endpoints", "is empty; give at least one endpoint with its url")
		return nil
	}
	verify := compileTLS("spec.tls", spec.GetTls(), n)
	var named, anywhere []*Target
	for i, ep := range spec.GetEndpoints() {
		t, problem := parseTarget(ep.GetUrl())
		if problem != "" {
			n.reject(fmt.Sprintf("spec.endpoints[%d].url", i), "%s", problem)
			continue
		}
		verify.equip(t)
		switch {
		case len(ep.GetRegions()) == 0:
			anywhere = withInstance(anywhere, t)
		case slices.Contains(ep.GetRegions(), region):
			named = withInstance(named, t)
		}
	}
	if len(named) > 0 {
		return named
	}
	return anywhere
}

func withInstance(list []*Target, t *Target) []*Target {
	if slices.ContainsFunc(list, func(other *Target) bool { return other.ID == t.ID }) {
		return list
	}
	return append(list, t)
}

// instanceID is never 0, which stands for any instance.
func instanceID(url string) uint32 {
	sum := sha256.Sum256([]byte(url))
	return max(binary.BigEndian.Uint32(sum[:4]), 1)
}

// parseTarget takes a URL apart without changing a byte of its path and query. The problem never quotes the URL: it may hold a secret.
func parseTarget(url string) (t *Target, problem string) {
	for i := range len(url) {
		if url[i] <= ' ' || url[i] > '~' {
			return nil, "has a space, a control or a non-ASCII character; percent-encode it, and write the host in punycode"
		}
	}
	scheme, rest, ok := strings.Cut(url, "://")
	t = &Target{Scheme: strings.ToLower(scheme)}
	if !ok || t.Scheme != "http" && t.Scheme != "https" {
		return nil, "is not an absolute http or https URL; write it like https://host/path"
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	authority, path := rest[:end], rest[end:]
	switch {
	case strings.Contains(authority, "@"):
		return nil, "has user information; credentials don't belong in a URL, remove it"
	case strings.Contains(path, "#"):
		return nil, "has a fragment; remove it"
	}
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	t.Path = path
	if problem = t.locate(authority); problem != "" {
		return nil, problem
	}
	t.Masked, t.ID = redact.URL(url), instanceID(url)
	return t, ""
}

// locate fills host and port from "host", "host:port", "[v6]" or "[v6]:port".
func (t *Target) locate(authority string) (problem string) {
	const bad = "has no valid host; write it like https://host:port/path"
	host, port := authority, ""
	if strings.HasPrefix(authority, "[") {
		end := strings.IndexByte(authority, ']')
		if end < 0 {
			return bad
		}
		host, port = authority[1:end], authority[end+1:]
		if port != "" && port[0] != ':' {
			return bad
		}
		addr, err := netip.ParseAddr(strings.Replace(host, "%25", "%", 1))
		if err != nil || !addr.Is6() {
			return bad
		}
		t.Hostname, host = addr.String(), "["+addr.WithZone("").String()+"]"
	} else {
		if i := strings.IndexByte(host, ':'); i >= 0 {
			host, port = authority[:i], authority[i:]
		}
		host = strings.ToLower(host)
		if !plainHost(host) {
			return bad
		}
		t.Hostname = host
	}
	return t.finish(host, strings.TrimPrefix(port, ":"))
}

// finish sets what follows from host (IPv6 in brackets) and the port's digits.
func (t *Target) finish(host, port string) (problem string) {
	standard := map[string]int{"http": 80, "https": 443}[t.Scheme]
	t.Port = standard
	if port != "" {
		v, err := strconv.ParseUint(port, 10, 16)
		if err != nil || v == 0 {
			return "has no valid port; give a number from 1 to 65535"
		}
		t.Port = int(v)
	}
	t.Host = host
	if t.Port != standard {
		t.Host = host + ":" + strconv.Itoa(t.Port)
	}
	t.Origin = t.Scheme + "://" + t.Host
	t.Addr = net.JoinHostPort(t.Hostname, strconv.Itoa(t.Port))
	t.Key = t.Scheme + "|" + t.Addr
	return ""
}

// plainHost reports whether host is a name or an IPv4 address in ASCII, without escapes.
func plainHost(host string) bool {
	for i := range len(host) {
		c := host[i]
		if c|0x20 < 'a' || c|0x20 > 'z' {
			if (c < '0' || c > '9') && c != '.' && c != '-' && c != '_' {
				return false
			}
		}
	}
	return host != "" && host != "." && len(host) <= 253
}

// verification is how the certificate of one server is checked.
type verification struct {
	roots      *x509.CertPool // nil: the system's
	serverName string         // empty: the URL's host
	id         string         // equal for equal settings
}

func compileTLS(field string, m *configv1.UpstreamTLS, n *notes) verification {
	v := verification{serverName: m.GetServerName(), id: "system"}
	if pem := m.GetCaPem(); pem != "" {
		v.roots = x509.NewCertPool()
		if !v.roots.AppendCertsFromPEM([]byte(pem)) {
			n.reject(field+".ca_pem", "holds no certificate in PEM form")
		}
		sum := sha256.Sum256([]byte(pem))
		v.id = hex.EncodeToString(sum[:])
	}
	return v
}

// equip gives an https target its TLS settings. Only HTTP/1.1 is offered.
func (v verification) equip(t *Target) {
	if t.Scheme != "https" {
		return
	}
	name := v.serverName
	if name == "" {
		name, _, _ = strings.Cut(t.Hostname, "%")
	}
	t.TLS = &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"},
		RootCAs:    v.roots,
		ServerName: name,
	}
	t.Key += "|" + name + "|" + v.id
}
