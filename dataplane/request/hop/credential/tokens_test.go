package credential_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hopgate/hopgate/dataplane/egress"
	"github.com/hopgate/hopgate/dataplane/request/hop/credential"
	"github.com/hopgate/hopgate/proto/fault"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// RFC 6749 sections 2.3.1 and 4.4.2, RFC 8707 section 2.2.
func TestClientCredentialsAreAskedForAsTheRFCsWant(t *testing.T) {
	a := machine()
	a.ClientId, a.Scopes = "gate: 1/ü", []string{"read", "write"}
	w := newWorld(t, &configv1.ServerSpec{Auth: a})
	w.keep("one", "a b%c:d+e")
	if _, err := w.resolve(w.ask()); err != nil {
		t.Fatal(err)
	}
	r, form := w.endpoint.last(t)
	if r.Method != http.MethodPost || r.URL != "https://idp.example.com/token" || r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" ||
		r.Header.Get("Accept") != "application/json" || r.Phase != fault.Token || r.Stranger || r.Timeout <= 0 || r.Timeout > 10*time.Second {
		t.Errorf("%s %s %v %v", r.Method, r.URL, r.Phase, r.Timeout)
	}
	if got, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(r.Header.Get("Authorization"), "Basic ")); string(got) != "gate%3A+1%2F%C3%BC:a+b%25c%3Ad%2Be" {
		t.Errorf("client_secret_basic is %q", got)
	}
	if got := form.Encode(); got != "grant_type=client_credentials&resource=https%3A%2F%2Fmcp.example.com%2Fmcp&scope=read+write" {
		t.Error(got)
	}
}

func TestTheClientSecretGoesIntoTheBodyIfWanted(t *testing.T) {
	a := machine()
	a.ClientAuth, a.OmitResource = "client_secret_post", true
	w := newWorld(t, &configv1.ServerSpec{Auth: a})
	if _, err := w.resolve(w.ask()); err != nil {
		t.Fatal(err)
	}
	r, form := w.endpoint.last(t)
	if r.Header["Authorization"] != nil || form.Encode() != "client_id=gate&client_secret="+secret+"&grant_type=client_credentials" {
		t.Error(r.Header, form)
	}
}

// RFC 8693 section 2.1.
func TestTheCallersTokenIsExchangedAsTheRFCWants(t *testing.T) {
	a := exchange()
	a.Resource, a.Audience, a.Scopes = "https://api.example.com/", "api", []string{"read"}
	w := newWorld(t, &configv1.ServerSpec{Auth: a})
	ask := w.ask()
	ask.Subject = jwt
	b, err := w.resolve(ask)
	if err != nil || show(b) != "Authorization: Bearer "+token(1)+" | token-exchange | (gateway-held)" {
		t.Fatal(show(b), err)
	}
	r, form := w.endpoint.last(t)
	const want = "audience=api&grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange" +
		"&requested_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token&resource=https%3A%2F%2Fapi.example.com%2F&scope=read" +
		"&subject_token=" + jwt + "&subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token"
	if form.Encode() != want || r.Phase != fault.Exchange {
		t.Error(form.Encode())
	}
}

// Never again: an exchange without a subject that goes on as somebody else.
func TestTokenExchangeWithoutASubjectFailsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &configv1.ServerSpec{Auth: exchange(), Headers: []*configv1.Header{{Name: "x-a", Text: "b"}}})
		ended := w.ask()
		ended.Subject, ended.Expires = jwt, time.Now()
		for _, a := range []*credential.Ask{w.ask(), w.ask("Authorization: Bearer " + jwt), ended} {
			b, err := w.resolve(a)
			if face(err) != "hop=authserver; phase=exchange; kind=unauthenticated" || fault.As(err).HTTPStatus() != 403 || len(b.Fields) > 0 {
				t.Errorf("%v, %s", err, show(b))
			}
		}
		if n := w.endpoint.count(); n > 0 {
			t.Errorf("%d requests for tokens", n)
		}
	})
}

// Each subject has its own token, and none outlives its subject.
func TestExchangedTokensBelongToOneSubject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &configv1.ServerSpec{Auth: exchange()})
		get := func(subject string) string {
			a := w.ask()
			a.Subject, a.Expires = subject, time.Now().Add(100*time.Second)
			b, err := w.resolve(a)
			if err != nil {
				t.Fatal(err)
			}
			return b.Fields[0].Value
		}
		if a, b := get("alice"), get("bob"); a == b || a != get("alice") || b != get("bob") || w.endpoint.count() != 2 {
			t.Errorf("%s %s, %d requests", a, b, w.endpoint.count())
		}
		time.Sleep(79 * time.Second)
		get("alice")
		if n := w.endpoint.count(); n != 2 {
			t.Errorf("%d requests", n)
		}
		time.Sleep(time.Second) // four fifths of the subject's life
		get("alice")
		if n := w.endpoint.count(); n != 3 {
			t.Errorf("%d requests: a token outlives its subject", n)
		}
	})
}

func TestHowLongATokenIsUsed(t *testing.T) {
	for _, c := range []struct {
		says any
		want time.Duration
	}{
		{nil, 4 * time.Minute}, {300, 4 * time.Minute}, {"300", 4 * time.Minute}, {299.5, 239600 * time.Millisecond}, {10, 8 * time.Second},
		{3600, 59 * time.Minute}, {1e9, 24*time.Hour - time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, &configv1.ServerSpec{Auth: machine()})
			w.endpoint.set(func(_ context.Context, n int, _ *egress.Request) (*egress.Answer, error) {
				return minted(n, c.says), nil
			})
			for i, pause := range []time.Duration{0, c.want - 1, 1} {
				time.Sleep(pause)
				b, err := w.resolve(w.ask())
				if want := i/2 + 1; err != nil || w.endpoint.count() != want || b.Fields[0].Value != "Bearer "+token(want) {
					t.Errorf("%v after %v: %s, %v, %d requests", c.says, pause, show(b), err, w.endpoint.count())
				}
			}
		})
	}
}

func TestOnlyBearerTokensAreTaken(t *testing.T) {
	for _, bad := range []string{
		"", "null", "[]", "x", `{"error":"invalid_client"}`, `{"token_type":"Bearer"}`, `{"access_token":"","token_type":"Bearer"}`, `{"access_token":"a"}`,
		`{"access_token":"a","token_type":"N_A"}`, `{"access_token":"a","token_type":"DPoP"}`, `{"access_token":"a","token_type":"mac"}`,
		`{"access_token":"a b","token_type":"Bearer"}`, `{"access_token":"a\r\nX: 1","token_type":"Bearer"}`, `{"access_token":"\u00fc","token_type":"Bearer"}`,
		`{"access_token":7,"token_type":"Bearer"}`, `{"access_token":"` + strings.Repeat("a", 16<<10+1) + `","token_type":"Bearer"}`,
		`{"access_token":"a","token_type":"Bearer","expires_in":0}`, `{"access_token":"a","token_type":"Bearer","expires_in":-1}`,
		`{"access_token":"a","token_type":"Bearer","expires_in":"NaN"}`, `{"access_token":"a","token_type":"Bearer","expires_in":{}}`,
		`{"access_token":"a","token_type":"Bearer","issued_token_type":"urn:ietf:params:oauth:token-type:refresh_token"}`,
	} {
		w := newWorld(t, &configv1.ServerSpec{Auth: machine()})
		w.endpoint.set(always(status(200, bad), nil))
		b, err := w.resolve(w.ask())
		if f := fault.As(err); f == nil || f.Hop != fault.AuthServer || f.Phase != fault.Token || len(b.Fields) > 0 {
			t.Errorf("%.60s: %s, %v", bad, show(b), err)
		}
	}
	for _, good := range []string{"Bearer", "bearer", "BEARER"} {
		w := newWorld(t, &configv1.ServerSpec{Auth: machine()})
		w.endpoint.set(always(status(200, `{"access_token":"a","token_type":"`+good+`","expires_in":null,"issued_token_type":"urn:ietf:params:oauth:token-type:jwt"}`), nil))
		if b, err := w.resolve(w.ask()); err != nil || b.Fields[0].Value != "Bearer a" {
			t.Errorf("%s: %v", good, err)
		}
	}
}

// What an authorization server's refusal is told as: hop, phase, kind and a registered code.
func TestWhatARefusedTokenMeans(t *testing.T) {
	for _, c := range []struct {
		status     int
		body, want string
		says       string
	}{
		{401, `{"error":"invalid_client"}`, "denied; remote=true; upstream_status=401", "refused a token for the server my_up: invalid_client"},
		{400, `{"error":"unauthorized_client"}`, "denied; remote=true; upstream_status=400", "unauthorized_client"},
		{400, `{"error":"invalid_grant"}`, "denied; remote=true; upstream_status=400", "invalid_grant"},
		{400, `{"error":"invalid_target"}`, "denied; remote=true; upstream_status=400", "invalid_target"},
		{200, `{"error":"invalid_scope"}`, "denied; remote=true; upstream_status=200", "invalid_scope"},
		{400, `{"error":"secret_word"}`, "malformed; upstream_status=400", "answered with status 400"},
		{503, `{"error":"temporarily_unavailable"}`, "unavailable; remote=true; upstream_status=503", "temporarily_unavailable"},
		{400, `{"error":"server_error"}`, "unavailable; remote=true; upstream_status=400", "server_error"},
		{429, `slow down`, "exhausted; remote=true; upstream_status=429", "answered with status 429"},
		{500, `<html>`, "unavailable; remote=true; upstream_status=500", "answered with status 500"},
		{403, ``, "denied; remote=true; upstream_status=403", "answered with status 403"},
		{307, ``, "malformed; upstream_status=307", "redirects aren't followed"},
		{404, ``, "malformed; upstream_status=404", "answered with status 404"},
		{204, ``, "malformed; upstream_status=204", "answered with status 204"},
		{200, `<html>`, "malformed; upstream_status=200", "isn't JSON"},
	} {
		for phase, a := range map[string]*configv1.Auth{"token": machine(), "exchange": exchange()} {
			w := newWorld(t, &configv1.ServerSpec{Auth: a})
			w.endpoint.set(always(status(c.status, c.body), nil))
			ask := w.ask()
			ask.Subject = jwt
			_, err := w.resolve(ask)
			f := fault.As(err)
			if f == nil || face(err) != "hop=authserver; phase="+phase+"; kind="+c.want || !strings.Contains(f.Message+f.Hint, c.says) {
				t.Errorf("%d %s: %s, %v", c.status, c.body, face(err), err)
			}
			if strings.Contains(err.Error(), "secret_word") {
				t.Errorf("the peer's own word shows: %v", err)
			}
		}
	}
}

// What the way to the token endpoint suffers keeps its phase.
func TestFaultsOnTheWayKeepTheirPhase(t *testing.T) {
	w := newWorld(t, &configv1.ServerSpec{Auth: machine()})
	w.endpoint.set(always(nil, &fault.Error{Hop: fault.AuthServer, Phase: fault.Connect, Kind: fault.Refused, Message: "no"}))
	_, err := w.resolve(w.ask())
	if f := fault.As(err); f == nil || f.Server != "my_up" || face(err) != "hop=authserver; phase=connect; kind=refused" {
		t.Error(err)
	}
	for want, cause := range map[string]error{"timed_out": context.DeadlineExceeded, "unavailable": errors.New("something")} {
		w := newWorld(t, &configv1.ServerSpec{Auth: machine()})
		w.endpoint.set(always(nil, fmt.Errorf("wrapped: %w", cause)))
		if _, err := w.resolve(w.ask()); face(err) != "hop=authserver; phase=token; kind="+want {
			t.Error(err)
		}
	}
}
