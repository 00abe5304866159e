package jwt_test

import (
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/hopgate/hopgate/dataplane/request/auth/jwt/jwttest"
	"github.com/hopgate/hopgate/dataplane/table"
)

func BenchmarkSeen(b *testing.B) {
	r := newRig(b, jwttest.NewKey(b, "k1", "RS256"))
	token := r.token(b, map[string]any{"scope": "openid profile mcp:tools", "email": "ann@example.com"})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.verify(token); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFresh(b *testing.B) {
	for _, alg := range []string{"RS256", "ES256", "EdDSA"} {
		b.Run(alg, func(b *testing.B) {
			r := newRig(b, jwttest.NewKey(b, "k1", alg))
			tokens := make([]string, 1<<10)
			for i := range tokens {
				tokens[i] = r.token(b, map[string]any{"jti": fmt.Sprint(i), "email": "ann@example.com"})
			}
			if _, err := r.verify(tokens[0]); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				if n++; n%len(tokens) == 0 {
					r.change(nothing) // so that none was seen
				}
				token := tokens[n%len(tokens)]
				if _, err := r.tokens.Verify(b.Context(), r.list, token, sha256.Sum256([]byte(token))); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func nothing(*table.IdentityProvider) {}
