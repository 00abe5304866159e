package view_test

import (
	"testing"
	"testing/synctest"

	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/controlplane/cptest"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

func TestAPartIsEncodedOnceForAllStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cptest.New(t, cptest.Config{})
		c.Put(server("a", "http://127.0.0.1:1/"))
		quiet()
		u := c.Views().Current(anywhere).Full()
		first, err := u.Encoded(0)
		if err != nil {
			t.Fatal(err)
		}
		again, err := c.Views().Current(anywhere).Full().Encoded(0)
		if err != nil || &first[0] != &again[0] {
			t.Errorf("another stream got other memory (%v)", err)
		}
		got := &syncv1.Update{}
		if err := proto.Unmarshal(first, got); err != nil || !proto.Equal(got, u.Parts[0]) {
			t.Errorf("the bytes say %v (%v), the part %v", got, err, u.Parts[0])
		}
	})
}
