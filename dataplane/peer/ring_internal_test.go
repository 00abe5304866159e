package peer

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// WithRing is a config whose ring seals with the first key and opens with all. A key's id and secret are made of one letter.
func WithRing(t testing.TB, letters string) *table.Table {
	t.Helper()
	ring := &configv1.SealingRing{Name: "session"}
	for i, letter := range letters {
		ring.Keys = append(ring.Keys, &configv1.SealingKey{Id: uint32(letter), Secret: []byte(strings.Repeat(string(letter), 32)), //nolint:gosec // a letter
			Sealing: i == 0, CreateTime: timestamppb.Now()})
	}
	body, err := proto.Marshal(ring)
	if err != nil {
		t.Fatal(err)
	}
	o := confset.Object{Key: confset.Key{Kind: "sealingring", Name: "session"}, UID: "u", Hash: confset.HashBody(body), Body: body}
	tb, _ := table.New(table.Config{}).Apply(confset.Delta{Upserts: []confset.Object{o}}, 1, table.Version{Revision: 1})
	return tb
}
