package operator

import (
	"context"
	"fmt"
	"time"

	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	"github.com/hopgate/hopgate/proto/redact"
)

// Rotation replaces a key by a new one of the same rights.
type Rotation struct {
	Name string
	// Overlap is how long the old key is accepted beside the new one; 0: not at all.
	Overlap time.Duration
}

// Rotated is what a rotation did.
type Rotated struct {
	// Key is the new key.
	Key redact.Secret
	// Until is when the old key ends; zero: it has ended.
	Until time.Time
	// Dropped is when a key that had been replaced before was to end; it ends now. Zero: there was none.
	Dropped time.Time
}

// Run makes a key and stores its hash in place of the old one's, which is kept beside it during the overlap. It happens only if nobody else
// writes the record meanwhile.
func (r Rotation) Run(ctx context.Context, c adminv1.AdminServiceClient, now time.Time) (Rotated, error) {
	key, err := c.GetApiKey(ctx, &adminv1.GetRequest{Name: r.Name})
	if err != nil {
		return Rotated{}, Explain(err)
	}
	spec := key.GetSpec()
	if spec.GetSha256() == "" {
		return Rotated{}, fmt.Errorf("the record %s has no key: its holder is known by the certificate name %s", r.Name, clean(spec.GetCertificateName()))
	}
	if end, err := time.Parse(time.RFC3339, spec.GetExpires()); err == nil && !now.Before(end) {
		return Rotated{}, fmt.Errorf("the key %s expired at %s, and so would the new one: revoke it and create another", r.Name, spec.GetExpires())
	}
	secret := Secret()
	out := Rotated{Key: redact.NewSecret(secret)}
	if end, err := time.Parse(time.RFC3339, spec.GetPreviousExpires()); err == nil && now.Before(end) {
		out.Dropped = end
	}
	spec.PreviousSha256, spec.PreviousExpires = "", ""
	if r.Overlap > 0 {
		out.Until = now.Add(r.Overlap).UTC().Truncate(time.Second)
		if end, err := time.Parse(time.RFC3339, spec.GetExpires()); err == nil && end.Before(out.Until) {
			out.Until = end.UTC() // both end with the record
		}
		spec.PreviousSha256, spec.PreviousExpires = spec.GetSha256(), stamp(out.Until)
	}
	spec.Sha256 = Digest(secret)
	if _, err := c.PutApiKey(ctx, &adminv1.PutApiKeyRequest{Name: r.Name, Message: "key rotated", Apikey: key}); err != nil {
		return Rotated{}, Explain(err)
	}
	return out, nil
}
