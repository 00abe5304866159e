// Package rules says what a config object must look like: the same sentences in the API, the command line and the console.
//
// It promises to report every violation, each with the path of its field, what is wrong and how to mend it, and to decide the same on
// both planes: no clock, no look-up, no environment (Expand, for command lines, is handed one). It refuses to guess: an unknown field, a
// number where a string belongs, a word that is not in the list are violations, each with the nearest thing that would have been right. It
// never repeats a value that may be a secret: URLs, hashes, certificates, credentials and what should name one are described, not quoted.
package rules

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hopgate/hopgate/proto/redact"
)

// Built-in defaults, used where neither the object nor Settings says anything.
const (
	BodyLimit           int64 = 4 << 20  // bytes of a request body
	EventLimit          int64 = 16 << 20 // bytes of one server-sent event
	ResultLimit         int64 = 64 << 20 // bytes of a JSON answer
	Depth                     = 64       // nesting of a request body
	StreamsPerPrincipal       = 100      // open streams per principal and data plane
	Page                      = 1000     // items on one page of a list made from several servers
	SampleRatio               = 0.01     // share of requests traced

	Connect   = 5 * time.Second  // TCP connect and TLS handshake
	FirstByte = 60 * time.Second // last byte sent to first byte answered
	Idle      = 5 * time.Minute  // between two bytes of a body
	Total     = time.Duration(0) // whole call; 0 is no limit
	List      = 5 * time.Second  // a server's part in an answer made from several
)

// Violation is one thing that is wrong with an object.
type Violation struct {
	Field   string // path, for example spec.endpoints[0].url; empty: the whole object
	Problem string // what is wrong, for example "has no host"
	Fix     string // what to write instead; may be empty
	Line    int    // line of the file it was read from, from 1; 0: not from a file
}

// String returns "spec.endpoints[0].url: has no host; write it like http://127.0.0.1:3001/mcp", with "line 7: " in front when the line is
// known.
func (v Violation) String() string {
	var b strings.Builder
	if v.Line > 0 {
		fmt.Fprintf(&b, "line %d: ", v.Line)
	}
	if v.Field != "" {
		b.WriteString(v.Field + ": ")
	}
	b.WriteString(v.Problem)
	if v.Fix != "" {
		b.WriteString("; " + v.Fix)
	}
	return b.String()
}

// Violations is everything that is wrong; nil means nothing is.
type Violations []Violation

// Error returns one violation a line.
func (vs Violations) Error() string {
	lines := make([]string, len(vs))
	for i, v := range vs {
		lines[i] = v.String()
	}
	return strings.Join(lines, "\n")
}

// Err returns vs as an error, or nil when there are none.
func (vs Violations) Err() error {
	if len(vs) == 0 {
		return nil
	}
	return vs
}

func (vs *Violations) add(field, problem, fix string) {
	*vs = append(*vs, Violation{Field: field, Problem: problem, Fix: fix})
}

// bounded returns vs cut to a number that somebody may read.
func (vs Violations) bounded() Violations {
	const most = 100
	if len(vs) <= most {
		return vs
	}
	return append(vs[:most:most], Violation{Problem: fmt.Sprintf("%d more violations are not shown", len(vs)-most)})
}

// word checks that value is empty or one of known.
func (vs *Violations) word(field, value string, known ...string) {
	if value == "" || slices.Contains(known, value) {
		return
	}
	vs.add(field, quote(value)+" is not known", suggest(value, known))
}

// quote returns a value in quotes, cut to a length that fits a sentence. What looks like a key or token is masked: it was pasted into the wrong
// place.
func quote(s string) string {
	const most = 40
	s = redact.Text(s)
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return fmt.Sprintf("%q", s)
}
