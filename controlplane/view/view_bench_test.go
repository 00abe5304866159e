package view_test

import (
	"context"
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/controlplane/cptest"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// A change of one object among 100,000, from commit to the index.
func BenchmarkChangeAmongManyObjects(b *testing.B) {
	c := cptest.New(b, cptest.Config{})
	for i := range 100 {
		var objs []proto.Message
		for j := range 1000 {
			objs = append(objs, &configv1.ApiKey{Name: fmt.Sprintf("k%d", i*1000+j), Spec: &configv1.ApiKeySpec{User: "u"}})
		}
		c.Put(objs...)
	}
	for b.Loop() {
		rev := c.Put(&configv1.ApiKey{Name: "k500", Spec: &configv1.ApiKeySpec{User: fmt.Sprint(b.Elapsed())}})
		if err := c.Views().WaitRevision(context.Background(), rev); err != nil {
			b.Fatal(err)
		}
	}
}
