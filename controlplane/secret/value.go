package secret

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// KindSecret is the kind of operators' secrets: only the value in their bodies is stored sealed, so that labels can be read and changed.
const KindSecret = "secret"

// SealValue encrypts the value of a secret, bound to the object of that key and uid. Sealing the same twice gives different bytes.
func (k *KEK) SealValue(key confset.Key, uid, value string) ([]byte, error) {
	return k.Seal(AAD(key, uid), []byte(value))
}

// OpenValue returns the value of a stored secret. Errors name the object and wrap ErrWrongKey or ErrDamaged.
func (k *KEK) OpenValue(key confset.Key, uid string, sealed []byte) (string, error) {
	value, err := k.Open(AAD(key, uid), sealed)
	if err != nil {
		return "", fmt.Errorf("%s: %w", key, err)
	}
	return string(value), nil
}

// Fingerprint returns 16 bytes that are equal for equal data and say nothing about it to who doesn't hold the KEK: a plain hash of a request
// would let a reader of the store try out the values that may have been in it.
func (k *KEK) Fingerprint(data []byte) []byte {
	h := hmac.New(sha256.New, k.print[:])
	h.Write(data)
	return h.Sum(nil)[:16]
}

// openSecret turns a stored secret into the one that is pushed: with its value, and the hash of that.
func openSecret(kek *KEK, h store.Head) (confset.Object, error) {
	key, uid := h.Object.Key, h.Object.UID
	m := &configv1.Secret{}
	if err := proto.Unmarshal(h.Object.Body, m); err != nil || m.GetSpec() == nil {
		return confset.Object{}, fmt.Errorf("%s: %w: not a secret", key, ErrDamaged)
	}
	value, err := kek.OpenValue(key, uid, m.GetSpec().GetSealed())
	if err != nil {
		return confset.Object{}, err
	}
	m.Spec.Value, m.Spec.Sealed = value, nil
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return confset.Object{}, fmt.Errorf("%s: %w: its value is no text", key, ErrDamaged)
	}
	return confset.NewObject(key, uid, body), nil
}
