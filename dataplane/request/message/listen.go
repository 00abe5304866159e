package message

import (
	"net/http"

	"github.com/hopgate/hopgate/proto/fault"
)

// Listen is what a subscriptions/listen request asks to be told (MCP 2026-07-28, subscriptions).
type Listen struct {
	Tools, Prompts, Resources bool     // toolsListChanged, promptsListChanged, resourcesListChanged
	URIs                      []string // resourceSubscriptions, decoded
}

// ReadListen reads params.notifications of a subscriptions/listen request. Errors are *fault.Error (client, request, malformed; -32602) that
// name the member: it is absent or no object, has a name twice, a flag that is no boolean, or URIs that are no list of strings of valid
// Unicode. e must be Scan's result for body.
func ReadListen(body []byte, e *Envelope) (l Listen, err error) {
	object, ok := notifications(body, e)
	if !ok || !object.opens(body, '{') {
		return l, &fault.Error{Hop: fault.Client, Phase: fault.Request, Kind: fault.Malformed, Code: fault.CodeInvalidParams,
			Status: http.StatusBadRequest, Message: "params.notifications must be an object", Hint: `send for example {"toolsListChanged":true}`}
	}
	var at [4]Span
	if _, ok := pick(body, object.Start, at[:], "toolsListChanged", "promptsListChanged", "resourcesListChanged", "resourceSubscriptions"); !ok {
		return l, badListen("", "a name twice, or one that isn't valid Unicode")
	}
	for i, flag := range [...]*bool{&l.Tools, &l.Prompts, &l.Resources} {
		switch string(at[i].Of(body)) {
		case "true":
			*flag = true
		case "", "false", "null":
		default:
			return Listen{}, badListen("", "a flag that is neither true nor false")
		}
	}
	if l.URIs, err = addresses(body, at[3]); err != nil {
		return Listen{}, err
	}
	return l, nil
}

// notifications finds params.notifications; ok is false when params can be read in two ways.
func notifications(body []byte, e *Envelope) (value Span, ok bool) {
	var at [1]Span
	if !e.Params.opens(body, '{') {
		return value, true
	}
	_, ok = pick(body, e.Params.Start, at[:], "notifications")
	return at[0], ok
}

// addresses reads a list of URIs.
func addresses(body []byte, list Span) (uris []string, err error) {
	if !list.Present() || list.opens(body, 'n') {
		return nil, nil
	}
	if !list.opens(body, '[') {
		return nil, badListen(".resourceSubscriptions", "something other than a list")
	}
	elements(body, list.Start, func(value Span) bool {
		uri, ok := decode(inner(value, body), nil)
		if !ok || !value.opens(body, '"') {
			err = badListen(".resourceSubscriptions", "something other than strings of valid Unicode")
			return false
		}
		uris = append(uris, string(uri))
		return true
	})
	return uris, err
}

func badListen(member, what string) *fault.Error {
	return &fault.Error{Hop: fault.Client, Phase: fault.Request, Kind: fault.Malformed, Code: fault.CodeInvalidParams, Status: http.StatusBadRequest,
		Message: "params.notifications" + member + " has " + what, Hint: "see subscriptions/listen of MCP 2026-07-28"}
}

// ReplaceListen appends body to dst with params.notifications asking for l. Its members that Listen doesn't know stay behind those it does,
// but for taskIds: tasks have no place among several servers. It is made where it is absent; a body whose params are no object, or have a
// name twice, is copied unchanged. e must be Scan's result for body, and dst must not overlap body.
func ReplaceListen(dst, body []byte, e *Envelope, l Listen) []byte {
	at, ok := notifications(body, e)
	if ok && !at.Present() {
		return addParam(dst, body, e, "notifications", AppendListen(nil, l))
	}
	p := patch{dst: dst, src: body}
	if !ok {
		return p.rest()
	}
	p.upTo(at.Start)
	start := len(p.dst) + len("{")
	p.dst = AppendListen(p.dst, l)
	p.dst = p.dst[:len(p.dst)-len("}")]
	fields(body, at.Start, func(name, value Span) bool {
		if listens(spelled(body, name, nil)) {
			return true
		}
		if len(p.dst) > start {
			p.dst = append(p.dst, ',')
		}
		p.dst = append(p.dst, body[name.Start:value.End]...)
		return true
	})
	p.dst, p.from = append(p.dst, '}'), at.End
	return p.rest()
}

// listens reports whether a member of params.notifications is written anew, or left out.
func listens(name []byte) bool {
	switch string(name) {
	case "toolsListChanged", "promptsListChanged", "resourcesListChanged", "resourceSubscriptions", "taskIds":
		return true
	}
	return false
}

// AppendListen appends l as it stands in params.notifications: a JSON object with what is asked for.
func AppendListen(dst []byte, l Listen) []byte {
	dst = append(dst, '{')
	start := len(dst)
	next := func(name string) {
		if len(dst) > start {
			dst = append(dst, ',')
		}
		dst = appendName(dst, name)
	}
	for _, flag := range [...]struct {
		name string
		set  bool
	}{{"toolsListChanged", l.Tools}, {"promptsListChanged", l.Prompts}, {"resourcesListChanged", l.Resources}} {
		if flag.set {
			next(flag.name)
			dst = append(dst, "true"...)
		}
	}
	if len(l.URIs) > 0 {
		next("resourceSubscriptions")
		dst = append(dst, '[')
		for i, uri := range l.URIs {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = AppendQuoted(dst, uri)
		}
		dst = append(dst, ']')
	}
	return append(dst, '}')
}
