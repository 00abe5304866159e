package route

import (
	"net/http"
	"strconv"

	"github.com/hopgate/hopgate/proto/fault"
	"github.com/hopgate/hopgate/proto/redact"
)

// opens reports whether a name is that of a toolset which the caller may use, at whichever endpoint.
func (s *Scope) opens(name string) bool {
	all := s.everywhere()
	return all.toolset(name)
}

// everywhere is the scope of all that the caller may reach.
func (s *Scope) everywhere() Scope {
	return Scope{Table: s.Table, Principal: s.Principal, Place: s.Place}
}

// notToolset refuses a name at the door of toolsets. What else it is, is for those who may reach it.
func (s *Scope) notToolset(name string) error {
	all, what := s.everywhere(), "a server"
	t, ok := all.term(name)
	switch {
	case !ok:
		return notFound("there is no toolset "+redact.Text(name)+" that this caller may reach",
			"`hopgate get toolsets` lists the toolsets, `hopgate get apikeys` what each key may reach")
	case t.group:
		what = "an access group"
	}
	return notFound(name+" is "+what+", not a toolset", "use /"+name+"/mcp")
}

// notListed refuses a name in a comma list.
func (s *Scope) notListed(name string) error {
	if s.opens(name) {
		return notFound(name+" is a toolset, and lists in the path are of servers and access groups", "use /toolset/"+name+"/mcp alone")
	}
	return missing(s.Table, s.Principal, name, s.Place.Internal, s.Place.Client)
}

func tooMany(where string, names int) error {
	return &fault.Error{Hop: fault.Client, Phase: fault.Request, Kind: fault.TooLarge, Status: http.StatusBadRequest,
		Message: where + " has " + strconv.Itoa(names) + " names, and " + strconv.Itoa(mostNamed) + " are the most",
		Hint:    "name at most 64 servers or groups, or make an access group of them"}
}
