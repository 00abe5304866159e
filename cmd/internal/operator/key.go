package operator

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/redact"
)

// NewKey is a key to be made.
type NewKey struct {
	Name, User        string
	Servers, Roles    []string
	TrustTraceContext bool
	expires           string
}

// Secret makes a random key of 192 bits: sk- and 32 characters.
func Secret() string {
	var b [24]byte
	rand.Read(b[:]) //nolint:errcheck // never fails (crypto/rand)
	return "sk-" + base64.RawURLEncoding.EncodeToString(b[:])
}

// Digest is what the control plane keeps of a key.
func Digest(key string) string {
	h := sha256.Sum256([]byte(key))
	return hex.EncodeToString(h[:])
}

// ExpireIn sets the end of validity; d is a Go duration or a number of days like 30d, empty means never.
func (k *NewKey) ExpireIn(d string, now time.Time) error {
	if d == "" {
		return nil
	}
	const mostDays = 36500 // a hundred years
	length, err := time.ParseDuration(d)
	if days, ok := strings.CutSuffix(d, "d"); ok {
		var n int
		if n, err = strconv.Atoi(days); err == nil {
			length = time.Duration(min(n, mostDays+1)) * 24 * time.Hour
		}
	}
	if err != nil || length <= 0 || length > mostDays*24*time.Hour {
		return fmt.Errorf("--expires %q: give a duration like 12h or 30d, at most %dd", d, mostDays)
	}
	k.expires = now.Add(length).UTC().Format(time.RFC3339)
	return nil
}

// Create makes the key here and stores its hash; a name that is taken is an error.
func (k *NewKey) Create(ctx context.Context, c adminv1.AdminServiceClient) (redact.Secret, error) {
	if _, err := c.GetApiKey(ctx, &adminv1.GetRequest{Name: k.Name}); err == nil {
		return redact.Secret{}, fmt.Errorf("there is a key named %s already: revoke it first or take another name", k.Name)
	}
	secret := Secret()
	_, err := c.PutApiKey(ctx, &adminv1.PutApiKeyRequest{Name: k.Name, Message: "key created", Apikey: &configv1.ApiKey{Name: k.Name, Spec: &configv1.ApiKeySpec{
		Sha256: Digest(secret), User: k.User, Servers: k.Servers, Roles: k.Roles, Expires: k.expires, TrustTraceContext: k.TrustTraceContext}}})
	if err != nil {
		return redact.Secret{}, Explain(err)
	}
	return redact.NewSecret(secret), nil
}
