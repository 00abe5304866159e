package rules

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"

	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

const (
	mostRate        = 1e6 // a second
	mostConcurrency = 1_000_000
	mostToolLimits  = 256
)

var rateForm = regexp.MustCompile(`^([0-9]{1,10})/(s|m|h)$`)

// Rate reads a number of requests per time like 100/s, 6000/m or 1000/h as requests a second: more than 0, at most 1,000,000. Empty is 0,
// which means no limit.
func Rate(s string) (perSecond float64, err error) {
	if s == "" {
		return 0, nil
	}
	m := rateForm.FindStringSubmatch(s)
	if m == nil {
		return 0, errors.New("is not a rate")
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		return 0, errors.New("is not a rate")
	}
	perSecond = n / map[string]float64{"s": 1, "m": 60, "h": 3600}[m[2]]
	switch {
	case perSecond == 0:
		return 0, errors.New("would let nothing through")
	case perSecond > mostRate:
		return 0, errors.New("is more than 1,000,000 a second")
	}
	return perSecond, nil
}

func (vs *Violations) limits(field string, l *configv1.CallLimits) {
	if _, err := Rate(l.GetRate()); err != nil {
		vs.add(field+".rate", quote(l.GetRate())+" "+err.Error(), "write a whole number per s, m or h, for example 100/s or 6000/m, or leave it out for no limit")
	}
	if n := l.GetConcurrency(); n < 0 || n > mostConcurrency {
		vs.add(field+".concurrency", fmt.Sprintf("%d is out of bounds", n), fmt.Sprintf("write a number from 1 to %d, or 0 for no limit", mostConcurrency))
	}
}

func (vs *Violations) toolLimits(field string, list []*configv1.ToolLimits) {
	names := make([]string, len(list))
	for i, l := range list {
		names[i] = l.GetTool()
	}
	vs.list(field, names, mostToolLimits, "tools", func(path, name string) string {
		vs.toolName(path+".tool", name)
		return name
	})
	for i, l := range list {
		at := element(field, i) + ".limits"
		if l.GetLimits().GetRate() == "" && l.GetLimits().GetConcurrency() == 0 {
			vs.add(at, "is empty", "write rate, concurrency or both, or remove the entry")
		}
		vs.limits(at, l.GetLimits())
	}
}
