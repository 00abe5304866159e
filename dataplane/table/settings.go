package table

import (
	"time"

	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/rules"
)

const settingsName = "default"

// builtIn returns the settings of a fleet that has none.
func builtIn() *Settings {
	return &Settings{
		Body:                rules.BodyLimit,
		Event:               rules.EventLimit,
		Result:              rules.ResultLimit,
		Depth:               rules.Depth,
		StreamsPerPrincipal: rules.StreamsPerPrincipal,
		Page:                rules.Page,
		SampleRatio:         rules.SampleRatio,
		Timeouts:            Timeouts{Connect: rules.Connect, FirstByte: rules.FirstByte, Idle: rules.Idle, Total: rules.Total, List: rules.List},
	}
}

func compileSettings(obj confset.Object, n *notes) *Settings {
	m := new(configv1.Settings)
	if !decode(obj, m, n) {
		return nil
	}
	if obj.Key.Name != settingsName {
		n.reject("name", "settings are named %q; there is one object of them", settingsName)
	}
	s := builtIn()
	limits := m.GetSpec().GetLimits()
	size(n, "spec.limits.body", limits.GetBody(), &s.Body)
	size(n, "spec.limits.event", limits.GetEvent(), &s.Event)
	size(n, "spec.limits.result", limits.GetResult(), &s.Result)
	count(n, "spec.limits.depth", limits.GetDepth(), &s.Depth)
	count(n, "spec.limits.streams_per_principal", limits.GetStreamsPerPrincipal(), &s.StreamsPerPrincipal)
	count(n, "spec.limits.page", limits.GetPage(), &s.Page)
	ratio(n, "spec.tracing.sample_ratio", m.GetSpec().GetTracing().GetSampleRatio(), &s.SampleRatio)
	s.Timeouts = compileTimeouts("spec.timeouts", m.GetSpec().GetTimeouts(), n).over(s.Timeouts)
	return s
}

func size(n *notes, field, text string, to *int64) {
	if text == "" {
		return
	}
	v, err := rules.Size(text)
	if err != nil || v <= 0 {
		n.reject(field, "%.40q is not a size above 0; write it like 64KiB or 4MiB", text)
		return
	}
	*to = v
}

func count(n *notes, field string, v int32, to *int) {
	switch {
	case v < 0:
		n.reject(field, "%d is below 0; give a number above 0, or 0 for the built-in value", v)
	case v > 0:
		*to = int(v)
	}
}

func ratio(n *notes, field, text string, to *float64) {
	if text == "" {
		return
	}
	v, err := rules.Ratio(text)
	if err != nil {
		n.reject(field, "%.40q is not a number between 0 and 1; write it like 0.05", text)
		return
	}
	*to = v
}

// ownTimeouts are those an object sets itself; nil means not set, which differs from a set 0.
type ownTimeouts struct{ connect, firstByte, idle, total, list *time.Duration }

func compileTimeouts(field string, m *configv1.Timeouts, n *notes) ownTimeouts {
	if m == nil {
		return ownTimeouts{}
	}
	return ownTimeouts{
		connect:   duration(n, field+".connect", m.GetConnect()),
		firstByte: duration(n, field+".first_byte", m.GetFirstByte()),
		idle:      duration(n, field+".idle", m.GetIdle()),
		total:     duration(n, field+".total", m.GetTotal()),
		list:      duration(n, field+".list", m.GetList()),
	}
}

func duration(n *notes, field, text string) *time.Duration {
	if text == "" {
		return nil
	}
	v, err := rules.Duration(text)
	if err != nil || v < 0 {
		n.reject(field, "%.40q is not a duration; write it like 500ms, 30s or 5m", text)
		return nil
	}
	return &v
}

// over returns t with what is set laid over it.
func (o ownTimeouts) over(t Timeouts) Timeouts {
	for _, x := range []struct {
		own *time.Duration
		to  *time.Duration
	}{{o.connect, &t.Connect}, {o.firstByte, &t.FirstByte}, {o.idle, &t.Idle}, {o.total, &t.Total}, {o.list, &t.List}} {
		if x.own != nil {
			*x.to = *x.own
		}
	}
	return t
}
