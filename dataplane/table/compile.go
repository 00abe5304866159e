package table

import (
	"strings"

	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

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
