package catalogue

import (
	"context"
	"errors"
	"time"

	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
)

// broken is the error of a walk that ended early. Faults of the source stay what they are.
func (c *Catalogue) broken(f *flight, err error) error {
	switch {
	case fault.As(err) != nil:
		return err
	case c.ctx.Err() != nil:
		return closing(f.server)
	case errors.Is(err, context.DeadlineExceeded):
		return overdue(f.server, f.key.Kind, Where(err, f.phase()), err)
	}
	return err
}

// refuse is the fault of a server that answered with what isn't taken.
func (f *flight) refuse(kind fault.Kind, text, hint string) error {
	return &fault.Error{Hop: fault.Upstream, Phase: fault.Protocol, Kind: kind, Server: f.server.Name,
		Message: "the server " + f.server.Name + " answered " + f.key.Kind.Method() + " " + text, Hint: hint}
}

// unreadable names the server in the fault of an answer.
func (f *flight) unreadable(err error) error {
	known := fault.As(err)
	if known == nil {
		known = fault.As(f.refuse(fault.Malformed, "with something else than a list", "look at the server's own log"))
		known.Err = err
	}
	if known.Server == "" {
		known.Server = f.server.Name
	}
	return known
}

// closing refuses a walk because the catalogue is closed.
func closing(s *table.Server) error {
	return &fault.Error{Hop: fault.Gateway, Phase: fault.Route, Kind: fault.Unavailable, Server: s.Name,
		Message: "this data plane is about to stop", Hint: "connect again: another one will answer"}
}

// busy refuses a walk because of those under way.
func busy(s *table.Server) error {
	return &fault.Error{Hop: fault.Gateway, Phase: fault.Limit, Kind: fault.Exhausted, Server: s.Name,
		Message: "this data plane asks for as many lists as it can at once", Hint: "try again in a moment", RetryAfter: time.Second}
}

// busyWith refuses a walk because of those of one server.
func busyWith(s *table.Server) error {
	return &fault.Error{Hop: fault.Gateway, Phase: fault.Limit, Kind: fault.Exhausted, Server: s.Name,
		Message: "this data plane asks the server " + s.Name + " for as many lists as it can at once",
		Hint:    "try again in a moment; look why the server is slow to list what it has", RetryAfter: time.Second}
}

// defect is a walk that panicked.
func defect(s *table.Server, err error) error {
	return &fault.Error{Hop: fault.Gateway, Phase: fault.Request, Kind: fault.Internal, Server: s.Name,
		Message: "the gateway failed to list what the server " + s.Name + " has", Hint: "this is a defect of the gateway: report it with the trace id", Err: err}
}
