package rules

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Duration reads a time like 500ms, 30s, 5m or 1h30m. Empty is 0, and so is 0s; callers that must tell them apart look at s.
func Duration(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, errors.New("is not a duration")
	}
	return d, nil
}

var sizeForm = regexp.MustCompile(`^([0-9]{1,19})(B|KiB|MiB|GiB)?$`)

// Size reads a number of bytes like 512, 64KiB, 4MiB or 1GiB. Empty is 0.
func Size(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	m := sizeForm.FindStringSubmatch(s)
	if m == nil {
		return 0, errors.New("is not a size")
	}
	shift := map[string]uint{"": 0, "B": 0, "KiB": 10, "MiB": 20, "GiB": 30}[m[2]]
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil || n > math.MaxInt64>>shift {
		return 0, errors.New("is too large to count")
	}
	return n << shift, nil
}

var ratioForm = regexp.MustCompile(`^[0-9]{0,10}\.?[0-9]{1,10}$`)

// Ratio reads a share between 0 and 1 like 0.01. Empty is an error: the caller knows its default.
func Ratio(s string) (float64, error) {
	if !ratioForm.MatchString(s) {
		return 0, errors.New("is not a decimal number")
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f > 1 {
		return 0, errors.New("is not between 0 and 1")
	}
	return f, nil
}

func (vs *Violations) duration(field, s string, least, most time.Duration, zero bool) {
	meaning := ""
	if zero {
		meaning = "for no limit"
	}
	vs.span(field, s, least, most, meaning)
}

// span checks a time; zero says what 0s does, like "for no limit", and is empty where it isn't possible.
func (vs *Violations) span(field, s string, least, most time.Duration, zero string) {
	if s == "" {
		return
	}
	d, err := Duration(s)
	bounds := fmt.Sprintf("write a time from %s to %s", short(least), short(most))
	if zero != "" {
		bounds += ", or 0s " + zero
	}
	switch {
	case err != nil:
		vs.add(field, quote(s)+" "+err.Error(), "write a number with its unit, for example 500ms, 30s or 5m")
	case d == 0 && zero != "":
	case d < least:
		vs.add(field, quote(s)+" is too short", bounds)
	case d > most:
		vs.add(field, quote(s)+" is too long", bounds)
	}
}

// short renders a bound without trailing zero units: 24h, not 24h0m0s.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func (vs *Violations) size(field, s, least, most string) {
	if s == "" {
		return
	}
	n, err := Size(s)
	low, _ := Size(least)
	high, _ := Size(most)
	bounds := "write a size from " + least + " to " + most
	switch {
	case err != nil:
		vs.add(field, quote(s)+" "+err.Error(), "write a whole number with B, KiB, MiB or GiB, for example 4MiB")
	case n < low:
		vs.add(field, quote(s)+" is too small", bounds)
	case n > high:
		vs.add(field, quote(s)+" is too large", bounds)
	}
}

func (vs *Violations) count(field string, n, least, most int32) {
	if n != 0 && (n < least || n > most) {
		vs.add(field, fmt.Sprintf("%d is out of bounds", n), fmt.Sprintf("write a number from %d to %d, or 0 for the built-in value", least, most))
	}
}

// text checks a value that people read: bounded, without control characters.
func (vs *Violations) text(field, s string, most int) { vs.plain(field, s, most, "") }

// prose checks a text of several lines.
func (vs *Violations) prose(field, s string, most int) { vs.plain(field, s, most, "\t\n\r") }

func (vs *Violations) plain(field, s string, most int, also string) {
	if len(s) > most {
		vs.add(field, fmt.Sprintf("is %d bytes long", len(s)), fmt.Sprintf("at most %d are possible", most))
	}
	if strings.ContainsFunc(s, func(r rune) bool { return (r < 0x20 || r == 0x7f || r == '\uFFFD') && !strings.ContainsRune(also, r) }) {
		vs.add(field, "contains a control character or a broken one", "write plain text")
	}
}
