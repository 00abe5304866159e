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

// mergeLevel is the feature level from which data planes merge overlays. Who can't doesn't get an object that one changes, since it would serve
// it without what the overlay restricts.
var mergeLevel = rules.Level(overlay.Kind, nil)

// overlaid is what an overlay means for views.
type overlaid struct {
	target  confset.Key
	secrets []string // that it refers to itself
	region  string   // everywhere: all
	moves   bool     // it says where a server is reached: the server's own secrets are needed there, too
}

// overlays knows which objects overlays change. Views.mu guards it.
type overlays struct {
	all     map[string]overlaid
	targets map[confset.Key]map[string]struct{} // overlays by what they change; never empty
}

func newOverlays() overlays {
	return overlays{all: map[string]overlaid{}, targets: map[confset.Key]map[string]struct{}{}}
}

// put replaces an overlay, the zero one: it is gone. It reports whether its target is changed by overlays now and wasn't before, or the
// other way.
func (l *overlays) put(name string, now overlaid) (turned []confset.Key) {
	was := l.all[name]
	if was.target != now.target {
		if there := l.targets[was.target]; there != nil {
			if delete(there, name); len(there) == 0 {
				delete(l.targets, was.target)
				turned = append(turned, was.target)
			}
		}
		if now.target != (confset.Key{}) {
			if l.targets[now.target] == nil {
				l.targets[now.target] = map[string]struct{}{}
				turned = append(turned, now.target)
			}
			l.targets[now.target][name] = struct{}{}
		}
	}
	if now.target == (confset.Key{}) {
		delete(l.all, name)
	} else {
		l.all[name] = now
	}
	return turned
}

// overlaidOf reads an overlay; one that doesn't decode changes nothing.
func overlaidOf(o confset.Object) overlaid {
	m := &configv1.Overlay{}
	if proto.Unmarshal(o.Body, m) != nil {
		return overlaid{}
	}
	spec := m.GetSpec()
	out := overlaid{target: overlay.TargetOf(spec), region: spec.GetRegion()}
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

// laid returns the objects that overlays change.
func (l *overlays) laid() map[confset.Key]struct{} {
	out := make(map[confset.Key]struct{}, len(l.targets))
	for key := range maps.Keys(l.targets) {
		out[key] = struct{}{}
	}
	return out
}

// Needs returns the feature level a data plane must have to get an object: what its content needs, and what overlays need that change it. It takes
// about 100 ns.
func (v *Views) Needs(o confset.Object) int32 {
	level := rules.Level(o.Key.Kind, o.Body)
	if _, ok := (*v.laid.Load())[o.Key]; ok {
		level = max(level, mergeLevel)
	}
	return level
}
