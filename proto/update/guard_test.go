package update_test

import (
	"fmt"
	"testing"

	"github.com/hopgate/hopgate/proto/confset"
	"github.com/hopgate/hopgate/proto/update"
)

// object of a kind, as small as can be.
func object(kind, name string) confset.Object {
	return confset.NewObject(confset.Key{Kind: kind, Name: name}, "u", []byte(name))
}

func setOf(t *testing.T, objects ...confset.Object) *confset.Set {
	t.Helper()
	set, err := confset.New(objects)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestASetThatLosesMuchOrEveryServerIsSuspicious(t *testing.T) {
	var keys []confset.Object
	for i := range 40 {
		keys = append(keys, object("apikey", fmt.Sprint("k", i)))
	}
	one, two := object("server", "one"), object("server", "two")
	for name, c := range map[string]struct {
		held, next []confset.Object
		want       bool
	}{
		"nothing held":              {nil, []confset.Object{one}, false},
		"the same":                  {keys, keys, false},
		"the only server goes":      {[]confset.Object{one, keys[0]}, keys[:1], true},
		"one of two servers goes":   {[]confset.Object{one, two}, []confset.Object{one}, false},
		"another server comes":      {[]confset.Object{one}, []confset.Object{two}, false},
		"no server before or after": {keys[:2], keys[:1], false},
		"a few keys go":             {keys, keys[10:], false},
		"many keys go":              {keys, keys[11:], true},
	} {
		held := setOf(t, c.held...)
		if got := update.Suspicious(held, confset.Diff(held, setOf(t, c.next...))); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
