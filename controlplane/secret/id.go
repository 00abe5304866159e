package secret

import (
	"encoding/hex"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// ID names the key with 16 hexadecimal digits that say nothing about it: they are the first of a hash. What the key sealed bears them.
func (k *KEK) ID() string { return hex.EncodeToString(k.id[:]) }

// SealedBy returns the ID of the key that sealed what an object holds as it is stored; empty: the objects of its kind aren't sealed. Errors
// name the object and wrap ErrDamaged.
func SealedBy(o confset.Object) (id string, err error) {
	sealed := o.Body
	switch o.Key.Kind {
	case KindRing:
	case KindSecret:
		m := &configv1.Secret{}
		if err := proto.Unmarshal(o.Body, m); err != nil {
			return "", fmt.Errorf("%s: %w: not a secret", o.Key, ErrDamaged)
		}
		sealed = m.GetSpec().GetSealed()
	case "authority":
		m := &configv1.Authority{}
		if err := proto.Unmarshal(o.Body, m); err != nil {
			return "", fmt.Errorf("%s: %w: not an authority", o.Key, ErrDamaged)
		}
		sealed = m.GetKey()
	default:
		return "", nil
	}
	if len(sealed) < smallest {
		return "", fmt.Errorf("%s: %w: %d bytes, at least %d are needed", o.Key, ErrDamaged, len(sealed), smallest)
	}
	return hex.EncodeToString(sealed[1:head]), nil
}
