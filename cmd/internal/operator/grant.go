package operator

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/confset"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/overlay"
	"github.com/hopgate/hopgate/proto/rules"
)

// GrantQuestion asks whether a key opens a server, or one tool of it, in a region, or for a group of data planes there.
type GrantQuestion struct{ Key, Server, Tool, Region, Group string }

// Grant is the answer, in the words of the data plane's own decision.
type Grant struct {
	Allowed bool        `json:"allowed"`
	Steps   []GrantStep `json:"steps"`
	// Notes are what else decides about a request, or stands against the objects.
	Notes []string `json:"notes,omitempty"`
}

// GrantStep is what one level makes of it; the last is the verdict.
type GrantStep struct {
	Level   string `json:"level"`
	Subject string `json:"subject"`
	Verdict string `json:"verdict"`
	Why     string `json:"why"`
}

// Run fetches what the key's rights are made of, compiles it as a data plane does, and asks that.
func (q GrantQuestion) Run(ctx context.Context, c adminv1.AdminServiceClient, now time.Time) (*Grant, error) {
	key, err := c.GetApiKey(ctx, &adminv1.GetRequest{Name: q.Key})
	if err != nil {
		return nil, Explain(err)
	}
	server, err := c.GetServer(ctx, &adminv1.GetRequest{Name: q.Server})
	if err != nil {
		return nil, Explain(err)
	}
	others, err := bounds(ctx, c, key.GetSpec())
	if err != nil {
		return nil, err
	}
	others = append(others, key, server)
	over, err := overlays(ctx, c, others)
	if err != nil {
		return nil, err
	}
	here := overlay.Place{Region: q.Region, Group: q.Group}
	t, notes, err := compiled(here, append(others, over...)...)
	if err != nil {
		return nil, err
	}
	g := &Grant{Notes: notes}
	s, ok := t.Server(q.Server)
	p := holder(t, key.GetSpec())
	switch {
	case !ok:
		g.deny("server", q.Server, "is rejected by data planes: it doesn't exist for anybody")
	case p == nil:
		g.deny("key", q.Key, "is rejected by data planes: nobody is admitted by it")
	case !p.Expires.IsZero() && !now.Before(p.Expires):
		g.deny("key", q.Key, "expired at "+stamp(p.Expires))
	default:
		g.judge(t, p, s, q.Tool)
		g.Notes = append(g.Notes, elsewhere(s, asServed(server, over, here).GetSpec(), q.Region)...)
	}
	return g, nil
}

func (g *Grant) deny(level, subject, why string) {
	g.Steps = append(g.Steps, GrantStep{level, subject, table.Denied, why})
}

func (g *Grant) judge(t *table.Table, p *table.Principal, s *table.Server, tool string) {
	for _, st := range t.Explain(p, s, tool) {
		g.Steps = append(g.Steps, GrantStep(st))
	}
	g.Allowed = g.Steps[len(g.Steps)-1].Verdict != table.Denied
}

// bounds are the key's team and all toolsets that the two name. What is missing is left out, as on a data plane.
func bounds(ctx context.Context, c adminv1.AdminServiceClient, spec *configv1.ApiKeySpec) ([]proto.Message, error) {
	var out []proto.Message
	names := slices.Clone(spec.GetToolsets())
	if spec.GetTeam() != "" {
		team, err := c.GetTeam(ctx, &adminv1.GetRequest{Name: spec.GetTeam()})
		switch {
		case err == nil:
			out = append(out, team)
			names = append(names, team.GetSpec().GetToolsets()...)
		case status.Code(err) != codes.NotFound:
			return nil, Explain(err)
		}
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		ts, err := c.GetToolset(ctx, &adminv1.GetRequest{Name: name})
		switch {
		case err == nil:
			out = append(out, ts)
		case status.Code(err) != codes.NotFound:
			return nil, Explain(err)
		}
	}
	return out, nil
}

// overlays are those of some objects.
func overlays(ctx context.Context, c adminv1.AdminServiceClient, objects []proto.Message) (out []proto.Message, err error) {
	there := map[confset.Key]bool{}
	for _, m := range objects {
		if o, ok := m.(interface{ GetName() string }); ok {
			kind, _ := rules.Canonical(string(m.ProtoReflect().Descriptor().Name()))
			there[confset.Key{Kind: kind, Name: o.GetName()}] = true
		}
	}
	_, all, err := Get(ctx, c, overlay.Kind, "")
	for _, m := range all {
		if o, ok := m.(*configv1.Overlay); ok && there[overlay.TargetOf(o.GetSpec())] {
			out = append(out, m)
		}
	}
	return out, err
}

// asServed is a server with those of some overlays that are for it and a place.
func asServed(server *configv1.Server, over []proto.Message, at overlay.Place) *configv1.Server {
	var of []*configv1.Overlay
	for _, m := range over {
		if o, ok := m.(*configv1.Overlay); ok && overlay.TargetOf(o.GetSpec()) == (confset.Key{Kind: "server", Name: server.GetName()}) {
			of = append(of, o)
		}
	}
	merged, _ := overlay.Merge(server, overlay.At(at, of)).(*configv1.Server)
	return merged
}

// compiled makes the table of a data plane at a place out of objects; notes are what it has against them.
func compiled(at overlay.Place, objects ...proto.Message) (t *table.Table, notes []string, err error) {
	type object interface {
		proto.Message
		GetName() string
		GetMeta() *configv1.ObjectMeta
	}
	var d confset.Delta
	for _, m := range objects {
		o, ok := m.(object)
		kind, known := rules.Canonical(string(m.ProtoReflect().Descriptor().Name()))
		if !ok || !known {
			return nil, nil, fmt.Errorf("%T is no object", m)
		}
		body, err := rules.Body(m)
		if err != nil {
			return nil, nil, err
		}
		d.Upserts = append(d.Upserts, confset.NewObject(confset.Key{Kind: kind, Name: o.GetName()}, o.GetMeta().GetUid(), body))
	}
	slices.SortFunc(d.Upserts, func(a, b confset.Object) int { return a.Key.Compare(b.Key) })
	t, outcomes := table.New(table.Config{Region: at.Region, Group: at.Group}).Apply(d, 1, table.Version{})
	for _, o := range outcomes {
		word := "warns about"
		if o.Rejected {
			word = "refuses"
		}
		notes = append(notes, fmt.Sprintf("a data plane %s %s: %s: %s", word, o.Key, o.Field, o.Text))
	}
	return t, notes, nil
}

// holder is who the key admits.
func holder(t *table.Table, spec *configv1.ApiKeySpec) *table.Principal {
	var sum [32]byte
	if b, err := hex.DecodeString(spec.GetSha256()); err == nil && len(b) == len(sum) {
		return t.Principal([32]byte(b))
	}
	return t.Certificate(spec.GetCertificateName())
}

// elsewhere is what beside grants decides whether the server exists for a caller.
func elsewhere(s *table.Server, spec *configv1.ServerSpec, region string) []string {
	var out []string
	if s.Target == nil {
		out = append(out, "the server has no endpoint for the region "+region)
	}
	if s.Internal {
		out = append(out, "only internal callers see the server (spec.reachable_from)")
	}
	if !s.Ranges.Empty() {
		out = append(out, "only callers from "+strings.Join(spec.GetAllowedCidrs(), ", ")+" see the server (spec.allowed_cidrs)")
	}
	if s.Internal || !s.Ranges.Empty() {
		out = append(out, "`hopgate explain origin` says where a caller is")
	}
	return out
}

// Print writes the answer as a table or JSON.
func (g *Grant) Print(w io.Writer, format string) error {
	if format == JSON {
		return encode(w, g)
	}
	rows := make([]string, len(g.Steps))
	for i, st := range g.Steps {
		rows[i] = cells(st.Level, st.Subject, st.Verdict, st.Why)
	}
	if err := printRows(w, "LEVEL\tSUBJECT\tVERDICT\tWHY", rows); err != nil {
		return err
	}
	for _, n := range g.Notes {
		fmt.Fprintln(w, "note: "+clean(n))
	}
	return nil
}

// Denied is what ends the command when the answer is no: the verdict in one sentence.
func (g *Grant) Denied() error {
	if g.Allowed {
		return nil
	}
	last := g.Steps[len(g.Steps)-1]
	return fmt.Errorf("denied: %s %s", clean(last.Subject), clean(last.Why))
}
