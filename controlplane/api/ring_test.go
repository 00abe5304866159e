package api_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/controlplane/admit"
	"github.com/hopgate/hopgate/controlplane/api"
	"github.com/hopgate/hopgate/controlplane/secret"
	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/controlplane/store/memstore"
)

func (p *plane) rotate(want int, path, body string) string {
	p.Helper()
	a := p.do("POST", "/v1/sealingrings/"+path+":rotate", body)
	if a.status != want {
		p.Errorf("%s: %d instead of %d: %s", path, a.status, want, a.body)
	}
	return a.body
}

func TestRotatingTheSealingRingIsAWriteOfTheCaller(t *testing.T) {
	var asked []string
	answer := func() (string, error) { return "added key 7", nil }
	p := start(t, memstore.New(), func(c *api.Config, _ *admit.Config) {
		c.Rotate = func(_ context.Context, author string, drop bool) (string, error) {
			asked = append(asked, fmt.Sprint(author, " ", drop))
			return answer()
		}
	})
	if got := p.rotate(200, "session", `{"drop":true}`); got != `{"did":"added key 7"}`+"\n" {
		t.Error(got)
	}
	if fmt.Sprint(asked) != "[master true]" {
		t.Error(asked)
	}
	line := p.log.lines(t)[0]
	if line["method"] != "RotateSealingRing" || line["objects"] != "sealingring/session" || line["caller"] != "master" || line["outcome"] != "ok" {
		t.Errorf("audit line %v", line)
	}
	answer = func() (string, error) { return "", nil }
	if got := p.rotate(200, "session", `{}`); got != "{}\n" {
		t.Error(got)
	}
	for _, c := range []struct {
		status int
		path   string
		err    error
		want   string
	}{
		{400, "session", fmt.Errorf("sealingring/session: it holds 8 keys; %w", secret.ErrFull), "nothing was rotated: sealingring/session: it holds 8 keys; a new one has to wait"},
		{400, "session", fmt.Errorf("sealingring/session: %w", secret.ErrDamaged), "nothing was rotated: sealingring/session: "},
		{503, "session", fmt.Errorf("sealingring/session: %w", store.ErrUnavailable), "the store can't be reached"},
		{500, "session", errors.New("hush"), "internal error"},
		{404, "sesion", nil, `sealingring \"sesion\" doesn't exist; nearest is \"session\"`},
	} {
		answer = func() (string, error) { return "", c.err }
		if got := p.rotate(c.status, c.path, `{}`); !strings.Contains(got, c.want) || strings.Contains(got, "hush") {
			t.Errorf("%s: %s", c.path, got)
		}
	}
	if len(asked) != 6 {
		t.Errorf("asked %d times", len(asked))
	}
}

func TestWhoMayNotOrCannotRotate(t *testing.T) {
	p := start(t, memstore.New())
	p.as("sk-0123456789abcdef0123456789abcdef").rotate(401, "session", `{}`)
	if got := p.rotate(501, "session", `{}`); !strings.Contains(got, "doesn't rotate sealing rings") {
		t.Error(got)
	}
}
