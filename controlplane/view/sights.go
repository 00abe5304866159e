package view

import (
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/controlplane/admit/links"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

const (
	kindServer = "server"
	kindSecret = links.KindSecret
)

// everywhere stands for all regions where a region is wanted.
const everywhere = ""

// sights knows in which regions secrets are seen: where a server that refers to them has an endpoint. It follows what is staged for the fleet,
// so that a secret stays as long as the server that needs it, also while removals are held. A changed object costs what it refers to. Views.mu
// guards it.
type sights struct {
	secrets map[string]confset.Object // as pushed
	servers map[string]need           // those that refer to secrets
	seen    map[string]map[string]int // by region and secret: how many servers there need it; never zero
	turned  map[confset.Key]struct{}  // secrets that came into or out of sight somewhere, and targets of overlays, since they were asked for

	overlays    overlays
	credentials map[string][]string // secrets by server
}

// need is which secrets a server needs and where.
type need struct{ secrets, regions []string }

func newSights() *sights {
	return &sights{secrets: map[string]confset.Object{}, servers: map[string]need{}, seen: map[string]map[string]int{}, turned: map[confset.Key]struct{}{},
		overlays: newOverlays(), credentials: map[string][]string{}}
}

// stage takes in what will be published next and returns the secrets that come into or out of sight somewhere by it, in canonical order.
func (s *sights) stage(objs []confset.Object, removals []confset.Key) []confset.Key {
	for _, key := range removals {
		switch key.Kind {
		case kindServer:
			s.serve(key.Name, need{})
		case kindOverlay:
			s.lay(key.Name, overlaid{})
		case kindSecret:
			delete(s.secrets, key.Name)
		}
	}
	for _, o := range objs {
		switch o.Key.Kind {
		case kindServer:
			s.serve(o.Key.Name, needOf(o))
		case kindOverlay:
			s.lay(o.Key.Name, overlaidOf(o))
		case kindSecret:
			s.secrets[o.Key.Name] = o
		}
	}
	turned := sortedKeys(s.turned)
	clear(s.turned)
	return turned
}

// hold counts what servers need as they were before a rollout, as long as it is open: the data planes without the change keep it.
func (s *sights) hold(was, now *staging) {
	for id, m := range now.images {
		for key, img := range m {
			switch {
			case key.Kind == kindServer:
				s.wants(heldName(id, key.Name), img.need)
			case key.Kind == kindOverlay && img.obj != nil:
				s.lay(heldName(id, key.Name), overlaidOf(*img.obj))
			}
		}
	}
	for id, m := range was.images {
		if _, ok := now.images[id]; ok {
			continue
		}
		for key := range m {
			switch key.Kind {
			case kindServer:
				s.wants(heldName(id, key.Name), need{})
			case kindOverlay:
				s.lay(heldName(id, key.Name), overlaid{})
			}
		}
	}
}

// heldName is one that no server has.
func heldName(change, server string) string { return "before " + change + "/" + server }

// serve takes in a server, or without need one that is gone.
func (s *sights) serve(name string, now need) {
	s.wants(name, now)
	if slices.Equal(s.credentials[name], now.secrets) {
		return
	}
	if s.credentials[name] = now.secrets; len(now.secrets) == 0 {
		delete(s.credentials, name)
	}
	for by := range s.overlays.targets[confset.Key{Kind: kindServer, Name: name}] {
		s.lean(by)
	}
}

// wants replaces what a server needs.
func (s *sights) wants(server string, now need) {
	was := s.servers[server]
	if slices.Equal(was.secrets, now.secrets) && slices.Equal(was.regions, now.regions) {
		return
	}
	s.count(now, 1) // first: what stays doesn't turn
	s.count(was, -1)
	if len(now.secrets) == 0 {
		delete(s.servers, server)
	} else {
		s.servers[server] = now
	}
}

func (s *sights) count(n need, by int) {
	for _, region := range n.regions {
		for _, name := range n.secrets {
			s.add(region, name, by)
		}
	}
}

func (s *sights) add(region, name string, by int) {
	there := s.seen[region]
	if there == nil {
		there = map[string]int{}
		s.seen[region] = there
	}
	was := there[name]
	there[name] = was + by
	if was == 0 || there[name] == 0 {
		s.turned[confset.Key{Kind: kindSecret, Name: name}] = struct{}{}
	}
	if there[name] == 0 {
		delete(there, name)
	}
	if len(there) == 0 {
		delete(s.seen, region)
	}
}

// needOf reads a server; what doesn't decode needs nothing.
func needOf(o confset.Object) need {
	m := &configv1.Server{}
	if proto.Unmarshal(o.Body, m) != nil {
		return need{}
	}
	var n need // its secrets count for overlays also when no endpoint says where
	for _, r := range links.Of(m).Refs {
		if r.To.Kind == kindSecret {
			n.secrets = append(n.secrets, r.To.Name)
		}
	}
	if len(n.secrets) == 0 {
		return need{}
	}
	for _, e := range m.GetSpec().GetEndpoints() {
		if len(e.GetRegions()) == 0 {
			n.regions = []string{everywhere}
			break
		}
		for _, region := range e.GetRegions() {
			if region != everywhere { // no region is called so
				n.regions = append(n.regions, region)
			}
		}
	}
	return need{secrets: distinct(n.secrets), regions: distinct(n.regions)}
}

func distinct(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}

// sight says where the secrets of one publication are seen. It is immutable.
type sight struct {
	names  map[string]map[string]struct{}     // by region: secrets of this publication
	fresh  map[string][rings][]confset.Object // regions that get lanes: all secrets that are for them
	closed map[string]struct{}                // regions whose lanes go
}

// seen says whether a secret of the publication is for a region.
func (at sight) seen(region, name string) bool {
	if _, ok := at.names[everywhere][name]; ok {
		return true
	}
	_, ok := at.names[region][name]
	return ok
}

// sight says where the upserted secrets of deltas are seen, and which regions need lanes now that there are some.
func (s *sights) sight(deltas [rings]leveled, masks [rings]mask, now *lanes) sight {
	at := sight{names: map[string]map[string]struct{}{}, fresh: map[string][rings][]confset.Object{}, closed: map[string]struct{}{}}
	for _, d := range deltas {
		for _, o := range d.Upserts {
			if o.Key.Kind == kindSecret {
				s.locate(at, o.Key.Name)
			}
		}
	}
	for region, names := range s.seen {
		if _, ok := now.regions[region]; !ok && region != everywhere {
			at.fresh[region] = [rings][]confset.Object{s.list(names, masks[ringOld]), s.list(names, masks[ringNew])}
		}
	}
	for region := range now.regions {
		if _, ok := s.seen[region]; !ok {
			at.closed[region] = struct{}{}
		}
	}
	return at
}

func (s *sights) locate(at sight, name string) {
	for region, names := range s.seen {
		if names[name] == 0 {
			continue
		}
		if at.names[region] == nil {
			at.names[region] = map[string]struct{}{}
		}
		at.names[region][name] = struct{}{}
	}
}

// list returns those of the secrets that there are for those to whom a mask applies.
func (s *sights) list(names map[string]int, m mask) []confset.Object {
	out := make([]confset.Object, 0, len(names))
	for name := range names {
		if img, ok := m[confset.Key{Kind: kindSecret, Name: name}]; ok {
			if img.obj != nil {
				out = append(out, *img.obj)
			}
		} else if o, ok := s.secrets[name]; ok {
			out = append(out, o)
		}
	}
	return out
}
