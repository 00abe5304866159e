package jwt_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/request/auth/jwt"
	"github.com/hopgate/hopgate/dataplane/request/auth/jwt/jwttest"
	"github.com/hopgate/hopgate/dataplane/table"
)

// hmacToken is a token signed symmetrically.
func hmacToken(header, payload string, secret []byte) string {
	input := jwttest.Encode(header) + "." + jwttest.Encode(payload)
	m := hmac.New(sha256.New, secret)
	m.Write([]byte(input))
	return input + "." + jwttest.Encode(string(m.Sum(nil)))
}

// A forged bearer is a refusal, whatever is wrong with it: never a caller without an identity (CVE-2026-59822, CVE-2026-12773).
func TestCVE_2026_59822_ForgedTokensAreRefused(t *testing.T) {
	good := jwttest.NewKey(t, "k1", "RS256")
	r := newRig(t, good, jwttest.NewKey(t, "e1", "ES256"))
	mallory := jwttest.NewKey(t, "k1", "ES256")
	b, err := json.Marshal(r.issuer.Claims(r.clock.Now(), nil))
	if err != nil {
		t.Fatal(err)
	}
	payload := string(b)
	valid := good.Sign(t, `{"alg":"RS256","kid":"k1"}`, payload)
	r.admitted(t, valid)
	parts := strings.Split(valid, ".")
	public, err := x509.MarshalPKIXPublicKey(good.Private.Public())
	if err != nil {
		t.Fatal(err)
	}
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	inside := strings.TrimSuffix(payload, "}")
	sign := func(header string) string { return good.Sign(t, header, payload) }
	claims := func(payload string) string { return good.Sign(t, `{"alg":"RS256","kid":"k1"}`, payload) }

	for name, token := range map[string]string{
		"nothing":              "",
		"a dot":                ".",
		"two dots":             "..",
		"garbage":              "eyJ.garbage.x",
		"not base64":           "eyJ!.!!!!.!!!!",
		"truncated":            valid[:len(valid)-10],
		"no signature":         parts[0] + "." + parts[1] + ".",
		"no third part":        parts[0] + "." + parts[1],
		"four parts":           valid + ".x",
		"five parts":           valid + ".x.y",
		"padded":               valid + "=",
		"a line break inside":  parts[0] + "." + parts[1] + "." + parts[2][:9] + "\n" + parts[2][9:],
		"spare bits":           parts[0] + "." + parts[1] + "." + spareBits(parts[2]),
		"another payload":      parts[0] + "." + jwttest.Encode(strings.Replace(payload, "u-1", "u-2", 1)) + "." + parts[2],
		"another header":       jwttest.Encode(`{"alg":"RS256","kid":"k1" }`) + "." + parts[1] + "." + parts[2],
		"zero signature":       parts[0] + "." + parts[1] + "." + jwttest.Encode(strings.Repeat("\x00", 256)),
		"one byte signature":   parts[0] + "." + parts[1] + ".AA",
		"huge":                 claims(inside + `,"x":"` + strings.Repeat("x", jwt.MostBytes) + `"}`),
		"none":                 jwttest.Encode(`{"alg":"none"}`) + "." + parts[1] + ".",
		"none, signed":         sign(`{"alg":"none","kid":"k1"}`),
		"None":                 sign(`{"alg":"None","kid":"k1"}`),
		"no algorithm":         sign(`{"kid":"k1"}`),
		"algorithm null":       sign(`{"alg":null,"kid":"k1"}`),
		"algorithm list":       sign(`{"alg":["RS256"],"kid":"k1"}`),
		"HS256, public PEM":    hmacToken(`{"alg":"HS256","kid":"k1"}`, payload, publicPEM),
		"HS256, public DER":    hmacToken(`{"alg":"HS256","kid":"k1"}`, payload, public),
		"HS256, JWK":           hmacToken(`{"alg":"HS256","kid":"k1"}`, payload, []byte(good.JWK())),
		"HS256, nothing":       hmacToken(`{"alg":"HS256","kid":"k1"}`, payload, nil),
		"another key, same id": mallory.Sign(t, `{"alg":"ES256","kid":"k1"}`, payload),
		"key of another type":  mallory.Sign(t, `{"alg":"ES256","kid":"e1"}`, payload),
		"algorithm of another": sign(`{"alg":"ES256","kid":"k1"}`),
		"PSS by a PKCS1 key":   (&jwttest.Key{ID: "k1", Alg: "PS256", Private: good.Private}).Sign(t, `{"alg":"PS256","kid":"k1"}`, payload),
		"not in the list":      (&jwttest.Key{ID: "k1", Alg: "RS512", Private: good.Private}).Sign(t, `{"alg":"RS512","kid":"k1"}`, payload),
		"kid is a path":        mallory.Sign(t, `{"alg":"ES256","kid":"../../../../dev/null"}`, payload),
		"kid is SQL":           mallory.Sign(t, `{"alg":"ES256","kid":"x' UNION SELECT 'k'"}`, payload),
		"kid is a number":      sign(`{"alg":"RS256","kid":1}`),
		"kid is huge":          sign(`{"alg":"RS256","kid":"` + strings.Repeat("k", 513) + `"}`),
		"own key in jwk":       mallory.Sign(t, `{"alg":"ES256","jwk":`+mallory.JWK()+`}`, payload),
		"own key in jku":       mallory.Sign(t, `{"alg":"ES256","kid":"k1","jku":"https://127.0.0.1:1/keys"}`, payload),
		"own key in x5u":       mallory.Sign(t, `{"alg":"ES256","kid":"k1","x5u":"https://127.0.0.1:1/cert"}`, payload),
		"own key in x5c":       mallory.Sign(t, `{"alg":"ES256","kid":"k1","x5c":["AAAA"]}`, payload),
		"crit":                 sign(`{"alg":"RS256","kid":"k1","crit":["exp"],"exp":1}`),
		"crit empty":           sign(`{"alg":"RS256","kid":"k1","crit":[]}`),
		"unencoded payload":    sign(`{"alg":"RS256","kid":"k1","b64":false}`),
		"encrypted":            sign(`{"alg":"RS256","kid":"k1","enc":"A256GCM"}`),
		"packed":               sign(`{"alg":"RS256","kid":"k1","zip":"DEF"}`),
		"nested":               sign(`{"alg":"RS256","kid":"k1","cty":"JWT"}`),
		"of another type":      sign(`{"alg":"RS256","kid":"k1","typ":"logout+jwt"}`),
		"type is a number":     sign(`{"alg":"RS256","kid":"k1","typ":1}`),
		"header twice alg":     sign(`{"alg":"none","alg":"RS256","kid":"k1"}`),
		"header twice, hidden": sign(`{"alg":"RS256","kid":"k1","\u0061lg":"none"}`),
		"header a list":        sign(`["RS256"]`),
		"header with more":     sign(`{"alg":"RS256","kid":"k1"}{}`),
		"header deep":          sign(`{"alg":"RS256","kid":"k1","x":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`),
		"payload twice sub":    claims(inside + `,"sub":"admin"}`),
		"payload twice, inner": claims(inside + `,"x":{"a":1,"a":2}}`),
		"payload not UTF-8":    claims(inside + ",\"x\":\"\xff\"}"),
		"payload with more":    claims(payload + "x"),
		"payload a string":     claims(`"` + r.issuer.URL + `"`),
		"payload empty":        claims(`{}`),
		"payload null":         claims(`null`),
		"payload nested":       claims(valid),
		"no subject":           claims(strings.NewReplacer(`"sub":"u-1"`, `"x":1`, `"client_id":"cli"`, `"y":1`).Replace(payload)),
		"empty subject":        claims(strings.NewReplacer(`"sub":"u-1"`, `"sub":""`, `"client_id":"cli"`, `"client_id":""`).Replace(payload)),
		"subject a number":     claims(strings.Replace(payload, `"sub":"u-1"`, `"sub":1`, 1)),
		"subject a list":       claims(strings.Replace(payload, `"sub":"u-1"`, `"sub":["u-1"]`, 1)),
		"huge subject":         claims(strings.Replace(payload, `"sub":"u-1"`, `"sub":"`+strings.Repeat("u", 1025)+`"`, 1)),
	} {
		t.Run(name, func(t *testing.T) { r.refused(t, token, "") })
	}
	r.admitted(t, valid)
}

// spareBits changes the bits behind the last byte that a lenient decoder drops.
func spareBits(s string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, s[len(s)-1])
	return s[:len(s)-1] + string(alphabet[last^1])
}

// Whatever the issuer's server answers, nobody comes in who has no good token (CVE-2026-12773: an upstream's 401 or 403 must not end as an
// empty identity).
func TestCVE_2026_12773_NoAnswerOfTheIssuerAdmits(t *testing.T) {
	forged := jwttest.NewKey(t, "kx", "ES256")
	for _, status := range []int{401, 403, 404, 200, 204, 302, 500, 503} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.issuer.Fail(status)
			token := forged.Token(t, r.issuer.Claims(r.clock.Now(), nil))
			r.unavailable(t, token, "can't be fetched")
			r.unavailable(t, token, "can't be fetched")
		})
	}
	for name, body := range map[string]string{"empty": "{}", "null keys": `{"keys":null}`, "list": "[]", "page": "<html>", "twice": `{"keys":[],"keys":[]}`, "cut": `{"keys":[`} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.issuer.PublishText(body)
			r.unavailable(t, forged.Token(t, r.issuer.Claims(r.clock.Now(), nil)), "can't be fetched")
		})
	}
}

func TestKeysThatMustNotBeUsedAreLeftOut(t *testing.T) {
	ec, weak := jwttest.NewKey(t, "k", "ES256"), jwttest.NewRSA(t, "k", "RS256", 1024)
	private := strings.TrimSuffix(ec.JWK(), "}") + `,"d":"AAAA"}`
	for name, c := range map[string]struct {
		key *jwttest.Key
		set string
	}{
		"for encryption":    {ec, strings.Replace(ec.JWK(), `"sig"`, `"enc"`, 1)},
		"other operations":  {ec, strings.Replace(ec.JWK(), `"use":"sig"`, `"key_ops":["sign"]`, 1)},
		"other algorithm":   {ec, strings.Replace(ec.JWK(), `"ES256"`, `"ES384"`, 1)},
		"private":           {ec, private},
		"symmetric":         {ec, `{"kty":"oct","kid":"k","k":"AAAA"}`},
		"weak RSA":          {weak, weak.JWK()},
		"unknown type":      {ec, `{"kty":"new","kid":"k"}`},
		"off the curve":     {ec, `{"kty":"EC","crv":"P-256","kid":"k","x":"AAAA","y":"AAAA"}`},
		"numbers for texts": {ec, strings.Replace(ec.JWK(), `"kid":"k"`, `"kid":1`, 1)},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, c.key)
			r.issuer.PublishText(`{"keys":[` + c.set + `]}`)
			r.refused(t, r.token(t, nil), "no key that its issuer publishes")
			r.issuer.PublishText(`{"keys":[` + c.set + `,` + jwttest.NewKey(t, "other", "ES256").JWK() + `]}`)
		})
	}
}

func TestWithoutAKeyIDAtMostFourKeysAreTried(t *testing.T) {
	keys := make([]*jwttest.Key, 6)
	for i := range keys {
		keys[i] = jwttest.NewKey(t, fmt.Sprint("k", i), "ES256")
	}
	r := newRig(t, keys...)
	for i, k := range keys {
		token := (&jwttest.Key{Alg: "ES256", Private: k.Private}).Token(t, r.issuer.Claims(r.clock.Now(), map[string]any{"jti": i}))
		if i < 4 {
			r.admitted(t, token)
		} else {
			r.refused(t, token, "signature")
		}
	}
}

func TestCertificatesInKeySetsAreNotRead(t *testing.T) {
	r := newRig(t)
	r.issuer.PublishText(`{"keys":[` + strings.TrimSuffix(r.key.JWK(), "}") + `,"x5c":["garbage"],"x5t":"x","x5u":"::"}]}`)
	r.admitted(t, r.token(t, nil))
}

func FuzzTokens(f *testing.F) {
	r := newRig(f)
	r.change(func(p *table.IdentityProvider) { p.Audiences = []string{jwttest.Audience} })
	f.Add(r.token(f, nil))
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Fuzz(func(t *testing.T, token string) {
		jwt.Ours(r.list, token)
		if c, err := r.verify(token); (c == nil) != (err != nil) || c != nil && c.Principal.ID == "" {
			t.Errorf("%+v, %v", c, err)
		}
	})
}

func TestAKeyIsUsedOnItsOwnCurveOnly(t *testing.T) {
	key := jwttest.NewKey(t, "k1", "ES384")
	r := newRig(t, key)
	r.issuer.PublishText(`{"keys":[` + strings.Replace(key.JWK(), `"alg":"ES384",`, "", 1) + `]}`)
	r.refused(t, key.Sign(t, `{"alg":"ES256","kid":"k1"}`, fmt.Sprintf(`{"iss":%q,"aud":%q,"sub":"u","exp":9e9}`, r.issuer.URL, jwttest.Audience)), "no key")
	r.change(func(p *table.IdentityProvider) { p.Algorithms = []string{"ES384"} })
	r.admitted(t, r.token(t, nil))
}

func TestKeyIDsAreShort(t *testing.T) {
	r := newRig(t, jwttest.NewKey(t, strings.Repeat("k", 513), "ES256"))
	r.refused(t, r.token(t, nil), "key id")
	r.wantAsked(t, 0, 0)
}
