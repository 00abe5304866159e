package several

import (
	"context"
	"slices"
	"sync"

	"github.com/hopgate/hopgate/dataplane/request/catalogue"
	"github.com/hopgate/hopgate/dataplane/request/gather"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/request/route"
	"github.com/hopgate/hopgate/dataplane/request/session"
)

// List appends the answer to a list of a kind to dst, from the catalogue as far as it has the servers' lists. What isn't a fault is that ctx ended.
func (s *Servers) List(ctx context.Context, r *Request, kind catalogue.Kind, dst []byte) ([]byte, error) {
	after, err := r.cursor()
	if err != nil {
		return dst, err
	}
	parts, outcomes, lost := s.lists(ctx, r, r.members(kind), kind)
	if err := ctx.Err(); err != nil {
		return dst, err
	}
	if err := r.broken(outcomes); err != nil {
		return dst, err
	}
	if len(lost) > 0 {
		if err := s.Gone(ctx, r, func(server string) bool { return slices.Contains(lost, server) }); err != nil {
			return dst, err
		}
	}
	page := gather.Page{Scope: r.Scope, Kind: kind, Parts: parts, After: after, Most: r.Table.Settings().Page, Modern: r.Era == message.Modern,
		Now: r.Now, Outcomes: outcomes}
	seal := func(c session.Cursor) (string, error) {
		c.Method = kind.Method()
		return session.SealCursor(r.Table.Ring("session"), c, r.Principal.ID, r.Door.Canonical(), r.Now)
	}
	return gather.AppendList(dst, r.id(), page, seal)
}

// cursor opens the sealed cursor that the caller came back with.
func (r *Request) cursor() (after session.Cursor, err error) {
	text := r.Env.CursorString(r.Body)
	if text == "" {
		return after, nil
	}
	return session.OpenCursor(r.Table.Ring("session"), text, r.Principal.ID, r.Door.Canonical(), r.Now)
}

// members are the servers that a list of a kind is made of.
func (r *Request) members(kind catalogue.Kind) []route.Member {
	if kind != catalogue.Tools && r.Scope.Toolset != nil {
		return nil
	}
	all := r.Scope.Members()
	if kind == catalogue.Tools {
		return all
	}
	kept := all[:0]
	for _, m := range all {
		if !m.Access.ToolsOnly() {
			kept = append(kept, m)
		}
	}
	return kept
}

// lists brings the members' lists: those at hand at once, the others in parallel. lost are the servers that were found to have lost the caller's
// session.
func (s *Servers) lists(ctx context.Context, r *Request, members []route.Member, kind catalogue.Kind) (parts []gather.ListPart, outcomes []gather.Outcome,
	lost []string) {
	parts, outcomes = make([]gather.ListPart, len(members)), make([]gather.Outcome, len(members))
	var missing []route.Member
	var at []int
	for i := range members {
		parts[i].Member, outcomes[i] = members[i], gather.Outcome{Server: members[i].Server.Name, Status: gather.OK}
		var ok bool
		if parts[i].List, ok = s.cfg.Legs.Peek(&r.Request, members[i].Server, kind); !ok {
			missing, at = append(missing, members[i]), append(at, i)
		} else if r.Spoke != nil {
			r.Spoke(members[i].Server, nil, "", nil)
		}
	}
	if len(missing) == 0 {
		return parts, outcomes, nil
	}
	var mu sync.Mutex
	asked := r.Request
	asked.Lost = func(server string) {
		mu.Lock()
		defer mu.Unlock()
		lost = append(lost, server)
	}
	found := make([]*catalogue.List, len(missing))
	outs := gather.Each(ctx, missing, func(ctx context.Context, i int) (err error) {
		found[i], err = s.cfg.Legs.List(ctx, &asked, &missing[i], kind)
		return err
	})
	for i, j := range at {
		outcomes[j] = outs[i]
		if outs[i].Status == gather.OK {
			parts[j].List = found[i]
		}
	}
	return parts, outcomes, lost
}
