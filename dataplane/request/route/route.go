// Package route finds the server a request is for.
//
// It promises one answer for "there is no such server" and "it isn't yours" (404, with suggestions only among what the caller may reach),
// so that names can't be probed. It refuses servers that this region can't reach, and says that this is why.
package route

import (
	"net/http"
	"strings"

	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
)

// Match returns the server named in the path if the caller may reach it.
func Match(t *table.Table, p *table.Principal, name, region string) (*table.Server, error) {
	s, ok := t.Server(name)
	if !ok || !p.May(name) {
		return nil, missing(t, p, name)
	}
	if s.Target == nil {
		return nil, &fault.Error{Hop: fault.Gateway, Phase: fault.Route, Kind: fault.Unreachable, Server: name,
			Message: "the server " + name + " has no endpoint for the region " + region,
			Hint:    "call the gateway in a region the server lists, or add an endpoint for this one"}
	}
	return s, nil
}

func missing(t *table.Table, p *table.Principal, name string) error {
	e := &fault.Error{Hop: fault.Gateway, Phase: fault.Route, Kind: fault.NotFound, Status: http.StatusNotFound,
		Message: "there is no server " + name + " that this caller may reach"}
	if near := nearest(t, p, name); near != "" {
		e.Hint = "did you mean " + near + "?"
	} else {
		e.Hint = "`hopgate get servers` lists the servers, `hopgate get apikeys` what each key may reach"
	}
	return e
}

// maxName bounds the names that are compared; rules allow 32 bytes.
const maxName = 64

// suggestAmong is up to how many servers a suggestion is looked for: a wrong name must not cost more the more there are.
const suggestAmong = 1000

// nearest returns the reachable name that differs least, or "" when none is close.
func nearest(t *table.Table, p *table.Principal, name string) string {
	name = strings.ReplaceAll(strings.ToLower(name), "-", "_")
	best, bestAt := "", len(name)/3+2
	if servers, _ := t.Len(); servers > suggestAmong {
		return ""
	}
	for s := range t.Servers() {
		if !p.May(s.Name) || len(s.Name) > maxName || len(name) > maxName || max(len(name)-len(s.Name), len(s.Name)-len(name)) >= bestAt {
			continue
		}
		if d := distance(name, s.Name); d < bestAt {
			best, bestAt = s.Name, d
		}
	}
	return best
}

// distance is the Levenshtein distance of two names.
func distance(a, b string) int {
	var rows [2][maxName + 1]int
	prev, cur := rows[0][:len(b)+1], rows[1][:len(b)+1]
	for j := range prev {
		prev[j] = j
	}
	for i := range len(a) {
		cur[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			cur[j+1] = min(prev[j+1]+1, cur[j]+1, prev[j]+cost)
		}
		prev, cur = cur, prev
	}
	return prev[len(b)]
}
