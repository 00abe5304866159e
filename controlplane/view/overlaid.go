package view

import (
	"maps"

	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/controlplane/admit/links"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/overlay"
	"github.com/hopgate/hopgate/proto/rules"
)

const kindOverlay = overlay.Kind

// overlaid is what an overlay means for views.
type overlaid struct {
	target  confset.Key
	secrets []string // that it refers to itself
	region  string   // everywhere: all
	moves   bool     // it says where a server is reached: the server's own secrets are needed there, too
	level   int32    // feature level from which data planes lay it over its target as it is meant
}

// overlays knows which objects overlays change. Views.mu guards it.
type overlays struct {
	all     map[string]overlaid
	targets map[confset.Key]map[string]struct{} // overlays by what they change; never empty
}

func newOverlays() overlays {
	return overlays{all: map[string]overlaid{}, targets: map[confset.Key]map[string]struct{}{}}
}

// put replaces an overlay, the zero one: it is gone. It reports the targets that need another feature level now.
func (l *overlays) put(name string, now overlaid) (turned []confset.Key) {
	was := l.all[name]
	keys := [2]confset.Key{was.target, now.target}
	before := [2]int32{l.level(keys[0]), l.level(keys[1])}
	if there := l.targets[was.target]; there != nil && was.target != now.target {
		if delete(there, name); len(there) == 0 {
			delete(l.targets, was.target)
		}
	}
	if now.target == (confset.Key{}) {
		delete(l.all, name)
	} else {
		l.all[name] = now
		if l.targets[now.target] == nil {
			l.targets[now.target] = map[string]struct{}{}
		}
		l.targets[now.target][name] = struct{}{}
	}
	for i, key := range keys {
		if l.level(key) != before[i] {
			turned = append(turned, key)
		}
	}
	return turned
}

// level is what the overlays of an object need together; 0: it has none. Who can't lay them over it doesn't get it, since it would be served
// without what they restrict.
func (l *overlays) level(target confset.Key) (most int32) {
	for name := range l.targets[target] {
		most = max(most, l.all[name].level)
	}
	return most
}

// overlaidOf reads an overlay; one that doesn't decode changes nothing.
func overlaidOf(o confset.Object) overlaid {
	m := &configv1.Overlay{}
	if proto.Unmarshal(o.Body, m) != nil {
		return overlaid{}
	}
	spec := m.GetSpec()
	out := overlaid{target: overlay.TargetOf(spec), region: spec.GetRegion(), level: rules.Level(o.Key.Kind, o.Body)}
	for _, r := range links.Of(m).Refs {
		if r.To.Kind == kindSecret {
			out.secrets = append(out.secrets, r.To.Name)
		}
	}
	out.moves = out.target.Kind == kindServer
	return out
}

// lay takes in an overlay as it will be published next; the zero one: it is gone.
func (s *sights) lay(name string, now overlaid) {
	for _, key := range s.overlays.put(name, now) {
		s.turned[key] = struct{}{}
	}
	s.lean(name)
}

// lean counts what an overlay needs where it applies. Besides its own secrets these are those of the server that it changes, since with the
// overlay the server may be reachable from there.
func (s *sights) lean(name string) {
	o, ok := s.overlays.all[name]
	if !ok {
		s.wants(overlayName(name), need{})
		return
	}
	n := need{secrets: o.secrets}
	if o.moves {
		n.secrets = append(n.secrets[:len(n.secrets):len(n.secrets)], s.credentials[o.target.Name]...)
	}
	if len(n.secrets) > 0 {
		n = need{secrets: distinct(n.secrets), regions: []string{o.region}}
	}
	s.wants(overlayName(name), n)
}

// overlayName is one that no server has.
func overlayName(overlay string) string { return "overlay " + overlay }

// laid returns the objects that overlays change, and the feature levels that these need.
func (l *overlays) laid() map[confset.Key]int32 {
	out := make(map[confset.Key]int32, len(l.targets))
	for key := range maps.Keys(l.targets) {
		out[key] = l.level(key)
	}
	return out
}

// Needs returns the feature level a data plane must have to get an object: what its content needs, and what overlays need that change it. It takes
// about 100 ns.
func (v *Views) Needs(o confset.Object) int32 {
	return max(rules.Level(o.Key.Kind, o.Body), (*v.laid.Load())[o.Key])
}
