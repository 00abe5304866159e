package secret_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/hopgate/hopgate/controlplane/secret"
	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/controlplane/store/memstore"
	"github.com/hopgate/hopgate/controlplane/store/storetest"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"google.golang.org/protobuf/proto"
)

var ringKey = confset.Key{Kind: secret.KindRing, Name: "session"}

func ensure(t *testing.T, s store.Store, kek *secret.KEK) store.Head {
	t.Helper()
	if err := secret.EnsureRing(t.Context(), s, kek, "session"); err != nil {
		t.Fatal(err)
	}
	head, err := s.Get(t.Context(), ringKey)
	if err != nil {
		t.Fatal(err)
	}
	return head
}

func TestRingIsMadeOnceAndOpens(t *testing.T) {
	s, kek := memstore.New(), newKEK(t)
	first := ensure(t, s, kek)
	if again := ensure(t, s, kek); again.Revision != first.Revision {
		t.Fatalf("made again at %d", again.Revision)
	}
	obj, err := secret.OpenHead(kek)(first)
	if err != nil {
		t.Fatal(err)
	}
	ring := new(configv1.SealingRing)
	if err := proto.Unmarshal(obj.Body, ring); err != nil {
		t.Fatal(err)
	}
	if k := ring.Keys[0]; ring.Name != "session" || len(ring.Keys) != 1 || len(k.Secret) != 32 || !k.Sealing || k.Id == 0 || k.CreateTime == nil {
		t.Fatalf("ring %v has unexpected fields", ring.Name)
	}
	if !obj.Intact() || obj.Hash == first.Object.Hash || obj.UID != first.Object.UID || obj.Key != ringKey {
		t.Fatalf("object %s %s", obj.Key, obj.UID)
	}
}

func TestReplicasMakeOneRing(t *testing.T) {
	s, kek := memstore.New(), newKEK(t)
	s.Ambiguous(true)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if err := secret.EnsureRing(t.Context(), s.Replica(), kek, "session"); err != nil {
				t.Errorf("ensure: %v", err)
			}
		})
	}
	group.Wait()
	if list, err := s.Changes(t.Context(), "", 10); err != nil || len(list) != 1 {
		t.Fatalf("%d changes, %v", len(list), err)
	}
}

func TestRingOfAnotherKeyIsLeftAlone(t *testing.T) {
	s := memstore.New()
	head := ensure(t, s, newKEK(t))
	other := newKEK(t)
	if err := secret.EnsureRing(t.Context(), s, other, "session"); !errors.Is(err, secret.ErrWrongKey) {
		t.Fatalf("ensure: %v", err)
	}
	if _, err := secret.OpenHead(other)(head); !errors.Is(err, secret.ErrWrongKey) {
		t.Fatalf("open: %v", err)
	}
	if now, _ := s.Get(t.Context(), ringKey); now.Revision != head.Revision {
		t.Fatal("the ring was replaced")
	}
}

func TestUnreachableStoreMakesNoRing(t *testing.T) {
	s := memstore.New()
	s.SetDown()
	if err := secret.EnsureRing(t.Context(), s, newKEK(t), "session"); !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
}

func TestOtherKindsPass(t *testing.T) {
	head := storetest.Head("server", "a", "body")
	obj, err := secret.OpenHead(newKEK(t))(head)
	if err != nil || obj.Hash != head.Object.Hash || string(obj.Body) != "body" {
		t.Fatalf("%v %v", obj, err)
	}
}
