package operator

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
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
	Name, User, Team          string
	Servers, Groups, Toolsets []string
	Roles                     []string
	// Rate like 100/s and Concurrency bound its use over the fleet; empty and 0: no limit.
	Rate        string
	Concurrency int32
	// CertificateName also admits callers with such a verified certificate, without the key.
	CertificateName   string
	TrustTraceContext bool
	MayAssertEndUser  bool
	expires           string
}

// Check refuses a key that would open nothing.
func (k *NewKey) Check() error {
	if len(k.Servers)+len(k.Groups)+len(k.Toolsets) == 0 {
		return errors.New("say what the key opens: --servers, --groups or --toolsets")
	}
	return nil
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

// mostDays is what a duration in days may be at most: a hundred years.
const mostDays = 36500

// Span reads a Go duration or a number of days like 30d, more than 0; the error names the flag.
func Span(flag, d string) (time.Duration, error) {
	length, err := time.ParseDuration(d)
	if days, ok := strings.CutSuffix(d, "d"); ok {
		var n int
		if n, err = strconv.Atoi(days); err == nil {
			length = time.Duration(max(-1, min(n, mostDays+1))) * 24 * time.Hour
		}
	}
	if err != nil || length <= 0 || length > mostDays*24*time.Hour {
		return 0, fmt.Errorf("%s %q: give a duration like 12h or 30d, at most %dd", flag, d, mostDays)
	}
	return length, nil
}

// ExpireIn sets the end of validity; d is as in Span, empty means never.
func (k *NewKey) ExpireIn(d string, now time.Time) error {
	if d == "" {
		return nil
	}
	length, err := Span("--expires", d)
	if err == nil {
		k.expires = stamp(now.Add(length))
	}
	return err
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Create makes the key here and stores its hash; a name that is taken is an error.
func (k *NewKey) Create(ctx context.Context, c adminv1.AdminServiceClient) (redact.Secret, error) {
	if _, err := c.GetApiKey(ctx, &adminv1.GetRequest{Name: k.Name}); err == nil {
		return redact.Secret{}, fmt.Errorf("there is a key named %s already: revoke it first or take another name", k.Name)
	}
	secret := Secret()
	_, err := c.PutApiKey(ctx, &adminv1.PutApiKeyRequest{Name: k.Name, Message: "key created", Apikey: &configv1.ApiKey{Name: k.Name, Spec: k.spec(secret)}})
	if err != nil {
		return redact.Secret{}, Explain(err)
	}
	return redact.NewSecret(secret), nil
}

func (k *NewKey) spec(secret string) *configv1.ApiKeySpec {
	s := &configv1.ApiKeySpec{Sha256: Digest(secret), User: k.User, Servers: k.Servers, Groups: k.Groups, Toolsets: k.Toolsets, Team: k.Team, Roles: k.Roles,
		Expires: k.expires, TrustTraceContext: k.TrustTraceContext, MayAssertEndUser: k.MayAssertEndUser, CertificateName: k.CertificateName}
	if k.Rate != "" || k.Concurrency != 0 {
		s.Limits = &configv1.CallLimits{Rate: k.Rate, Concurrency: k.Concurrency}
	}
	return s
}
