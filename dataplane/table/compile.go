package table

import (
	"encoding/hex"
	"strings"
	"time"

	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

const fieldHash = "spec.sha256"

func compileServer(obj confset.Object, region string, n *notes) *Server {
	m := new(configv1.Server)
	if !decode(obj, m, n) {
		return nil
	}
	spec := m.GetSpec()
	s := &Server{
		Name:      obj.Key.Name,
		UID:       obj.UID,
		Transport: oneOf(n, "spec.transport", spec.GetTransport(), "streamable_http"),
		Protocol:  oneOf(n, "spec.protocol", spec.GetProtocol(), "auto", "modern", "legacy"),
		AuthType:  oneOf(n, "spec.auth.type", spec.GetAuth().GetType(), "none"),
		Hash:      obj.Hash,
		own:       compileTimeouts("spec.timeouts", spec.GetTimeouts(), n),
	}
	s.Target = chooseTarget(spec, region, n)
	return s
}

// oneOf returns word if it is one of known, and the first of them when it is empty.
func oneOf(n *notes, field, word string, known ...string) string {
	if word == "" {
		return known[0]
	}
	for _, k := range known {
		if k == word {
			return word
		}
	}
	n.reject(field, "%.40q is not known to this version; use one of: %s", word, strings.Join(known, ", "))
	return ""
}

func compileKey(obj confset.Object, n *notes) *Principal {
	m := new(configv1.ApiKey)
	if !decode(obj, m, n) {
		return nil
	}
	spec := m.GetSpec()
	p := &Principal{
		ID:         "key:" + obj.UID,
		Name:       obj.Key.Name,
		User:       spec.GetUser(),
		TrustTrace: spec.GetTrustTraceContext(),
	}
	if h, err := hex.DecodeString(spec.GetSha256()); err != nil || copy(p.Hash[:], h) != len(h) || len(h) != len(p.Hash) {
		n.reject(fieldHash, "is not a SHA-256; give 64 hexadecimal digits")
	}
	if at := spec.GetExpires(); at != "" {
		t, err := time.Parse(time.RFC3339, at)
		if err != nil {
			n.reject("spec.expires", "is not an RFC 3339 time; write it like 2030-01-31T00:00:00Z")
		}
		p.Expires = t
	}
	p.grant(spec.GetServers())
	p.empower(spec.GetRoles(), n)
	return p
}

func (p *Principal) grant(servers []string) {
	p.Servers = make(map[string]struct{}, len(servers))
	for _, s := range servers {
		if s == "*" {
			p.All = true
			continue
		}
		p.Servers[s] = struct{}{}
	}
}

// empower gives the rights that count on a data plane.
func (p *Principal) empower(roles []string, n *notes) {
	for _, role := range roles {
		switch role {
		case "debug":
			p.Debug = true
		case "admin", "viewer": // rights on the control plane
		default:
			n.warn("spec.roles", "role %.40q is not known to this version and gives nothing here", role)
		}
	}
}

func compileRing(obj confset.Object, n *notes) *Ring {
	m := new(configv1.SealingRing)
	if !decode(obj, m, n) {
		return nil
	}
	r := &Ring{}
	sealing := false
	for _, k := range m.GetKeys() {
		if len(k.GetSecret()) != len(SealKey{}.Secret) {
			n.reject("keys", "key %d is not 32 bytes long", k.GetId())
			continue
		}
		if _, twice := r.Key(k.GetId()); twice {
			n.reject("keys", "id %d is there twice", k.GetId())
		}
		key := SealKey{ID: k.GetId(), Secret: [32]byte(k.GetSecret())}
		r.Open = append(r.Open, key)
		if k.GetSealing() && !sealing {
			r.Sealing, sealing = key, true
		}
	}
	if !sealing {
		n.reject("keys", "none of them seals")
	}
	return r
}
