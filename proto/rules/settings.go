package rules

import (
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// SettingsName is the name of the one Settings object.
const SettingsName = "default"

const mostPage = 10_000

// Settings returns everything that is wrong with the fleet-wide defaults.
func Settings(s *configv1.Settings) Violations {
	var vs Violations
	if name := s.GetName(); name != SettingsName {
		vs.add("name", quote(name)+" is not possible: there is one settings object", "write "+SettingsName)
	}
	vs.labels(s.GetLabels())
	limits := s.GetSpec().GetLimits()
	vs.size("spec.limits.body", limits.GetBody(), "1KiB", "64MiB")
	vs.size("spec.limits.event", limits.GetEvent(), "1KiB", "64MiB")
	vs.size("spec.limits.result", limits.GetResult(), "1KiB", "1GiB")
	vs.count("spec.limits.depth", limits.GetDepth(), 4, 512)
	vs.count("spec.limits.streams_per_principal", limits.GetStreamsPerPrincipal(), 1, 100_000)
	vs.count("spec.limits.page", limits.GetPage(), 1, mostPage)
	vs.timeouts("spec.timeouts", s.GetSpec().GetTimeouts())
	vs.ratio("spec.tracing.sample_ratio", s.GetSpec().GetTracing().GetSampleRatio())
	return vs
}

func (vs *Violations) ratio(field, s string) {
	if s == "" {
		return
	}
	if _, err := Ratio(s); err != nil {
		vs.add(field, quote(s)+" "+err.Error(), `write a decimal number from "0" to "1" in quotes, for example "0.01"`)
	}
}
