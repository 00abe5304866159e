package operator_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/hopgate/hopgate/cmd/internal/operator"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// records is an admin API with one key's record.
type records struct {
	adminv1.AdminServiceClient
	key *configv1.ApiKey
}

func (r *records) GetApiKey(context.Context, *adminv1.GetRequest, ...grpc.CallOption) (*configv1.ApiKey, error) {
	return r.key, nil
}

func (r *records) PutApiKey(_ context.Context, p *adminv1.PutApiKeyRequest, _ ...grpc.CallOption) (*configv1.ApiKey, error) {
	r.key = p.GetApikey()
	return r.key, nil
}

func TestAReplacedKeyIsNotSaidToOutliveItsRecord(t *testing.T) {
	now := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	for expires, want := range map[string]time.Time{"": now.Add(24 * time.Hour), "2027-01-01T01:00:00Z": now.Add(time.Hour), "2027-02-01T00:00:00Z": now.Add(24 * time.Hour)} {
		r := &records{key: &configv1.ApiKey{Name: "ci", Spec: &configv1.ApiKeySpec{Sha256: operator.Digest("sk-old"), Expires: expires}}}
		done, err := operator.Rotation{Name: "ci", Overlap: 24 * time.Hour}.Run(t.Context(), r, now)
		if err != nil {
			t.Fatal(err)
		}
		s := r.key.GetSpec()
		if !done.Until.Equal(want) || s.GetPreviousExpires() != want.Format(time.RFC3339) || s.GetPreviousSha256() != operator.Digest("sk-old") || s.GetSha256() != operator.Digest(done.Key.Reveal()) {
			t.Errorf("expires %q: until %s, stored %v; want %s", expires, done.Until, s, want)
		}
	}
}
