package confset_test

import (
	"testing"

	"github.com/hopgate/hopgate/proto/confset"
)

func TestMuchIsMoreThanTenAndMoreThanAFifth(t *testing.T) {
	for _, c := range []struct {
		removals, objects int
		want              bool
	}{
		{0, 0, false}, {10, 10, false}, {11, 11, true}, {11, 54, true}, {11, 55, false}, {20, 100, false}, {21, 100, true},
	} {
		if got := confset.Much(c.removals, c.objects); got != c.want {
			t.Errorf("%d of %d: %t", c.removals, c.objects, got)
		}
	}
}
