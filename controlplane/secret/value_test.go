package secret_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/controlplane/secret"
	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

const value = "ghp_a-value-that-nobody-sees"

// sealed is a secret as it is stored.
func sealed(t *testing.T, kek *secret.KEK, name, uid string) store.Head {
	t.Helper()
	key := confset.Key{Kind: secret.KindSecret, Name: name}
	blob, err := kek.SealValue(key, uid, value)
	if err != nil {
		t.Fatal(err)
	}
	body, err := proto.Marshal(&configv1.Secret{Name: name, Labels: map[string]string{"team": "core"}, Spec: &configv1.SecretSpec{Sealed: blob}})
	if err != nil {
		t.Fatal(err)
	}
	return store.Head{Object: confset.NewObject(key, uid, body)}
}

func TestASecretIsPushedWithItsValueAndAHashOfItsOwn(t *testing.T) {
	kek := newKEK(t)
	head := sealed(t, kek, "github", "uid")
	if bytes.Contains(head.Object.Body, []byte(value)) {
		t.Fatal("the stored body holds the value")
	}
	obj, err := secret.OpenHead(kek)(head)
	if err != nil {
		t.Fatal(err)
	}
	got := &configv1.Secret{}
	if err := proto.Unmarshal(obj.Body, got); err != nil {
		t.Fatal(err)
	}
	want := &configv1.Secret{Name: "github", Labels: map[string]string{"team": "core"}, Spec: &configv1.SecretSpec{Value: value}}
	if !proto.Equal(got, want) || !obj.Intact() || obj.Hash == head.Object.Hash || obj.UID != "uid" {
		t.Errorf("pushed: equal %v, intact %v, hash of the stored body %v", proto.Equal(got, want), obj.Intact(), obj.Hash == head.Object.Hash)
	}
	if again, err := secret.OpenHead(kek)(sealed(t, kek, "github", "uid")); err != nil || again.Hash != obj.Hash {
		t.Errorf("the same value sealed again is pushed with another hash: %v", err)
	}
}

func TestASecretOpensUnderItsNameAndUidOnly(t *testing.T) {
	kek := newKEK(t)
	open := secret.OpenHead(kek)
	head := sealed(t, kek, "github", "uid")
	moved, reborn, plain := head, head, head
	moved.Object.Key.Name, reborn.Object.UID = "gitlab", "uid2"
	plain.Object.Body, _ = proto.Marshal(&configv1.Secret{Name: "github", Spec: &configv1.SecretSpec{Value: value}})
	for name, h := range map[string]store.Head{"another name": moved, "another uid": reborn, "not sealed": plain} {
		if _, err := open(h); !errors.Is(err, secret.ErrDamaged) || strings.Contains(err.Error(), value) || !strings.Contains(err.Error(), h.Object.Key.String()) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := secret.OpenHead(newKEK(t))(head); !errors.Is(err, secret.ErrWrongKey) || !strings.Contains(err.Error(), "secret/github") {
		t.Errorf("another KEK: %v", err)
	}
}

func TestFingerprintsNeedTheKEK(t *testing.T) {
	one, other := newKEK(t), newKEK(t)
	a, again, b := one.Fingerprint([]byte("request")), one.Fingerprint([]byte("request")), other.Fingerprint([]byte("request"))
	if !bytes.Equal(a, again) || bytes.Equal(a, b) || bytes.Equal(a, one.Fingerprint([]byte("requesT"))) || len(a) != 16 {
		t.Errorf("%x %x %x", a, again, b)
	}
}
