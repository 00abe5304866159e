package rest

import (
	"bytes"
	"errors"
	"net/http"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/request/reply"
	"github.com/hopgate/hopgate/proto/fault"
	"github.com/hopgate/hopgate/proto/names"
)

func (v *visit) call() error {
	if v.in.Method != http.MethodPost {
		return v.WrongMethod(http.MethodPost)
	}
	body, release, err := v.Body()
	if err != nil {
		return err
	}
	defer release()
	w, err := readWish(body)
	switch {
	case err != nil:
		return v.refuse("invalid_request", &fault.Error{Hop: fault.Client, Phase: fault.Request, Kind: fault.Malformed, Status: http.StatusBadRequest,
			Message: "the body must be a JSON object in which no name occurs twice", Hint: `send {"server_id": "…", "name": "…", "arguments": {…}}`, Err: err})
	case w.server == "":
		return v.missing("server_id", "the request body")
	case w.tool == "":
		return v.missing("name", "the request body")
	case w.arguments[0] != '{':
		return v.refuse("invalid_request", &fault.Error{Hop: fault.Client, Phase: fault.Request, Kind: fault.Malformed, Status: http.StatusBadRequest,
			Message: "arguments must be an object or null"})
	}
	path := v.path(w.server)
	if path == "" {
		return v.unknown()
	}
	if server, _, cut, ok := names.Split(w.tool); ok && cut && server == w.server {
		path = "/mcp" // only there is the name known
	}
	return v.do(path, &w)
}

// do makes the call.
func (v *visit) do(path string, w *wish) error {
	body := appendQuoted([]byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":`), w.tool)
	body = append(append(body, `,"arguments":`...), w.arguments...)
	err := v.ask(path, append(body, "}}"...), func(answer []byte) error {
		var e message.Envelope
		if err := message.Scan(answer, message.MaxDepth, &e); err != nil || !e.Result.Present() {
			return &fault.Error{Hop: fault.Upstream, Phase: fault.Protocol, Kind: fault.Malformed, Message: "the server's answer can't be read", Err: err}
		}
		v.Answer(http.StatusOK, reply.JSON(), e.Result.Of(answer))
		return nil
	})
	var r *refusal
	if errors.As(err, &r) && r.word == "invalid_request" && !v.has(path, w.tool) {
		r.status, r.word = http.StatusForbidden, "tool_server_mismatch"
	}
	return err
}

// has reports whether an endpoint shows a tool, or doesn't tell. It is asked after a call was refused only.
func (v *visit) has(path, tool string) (found bool) {
	err := v.tools(path, func(item *message.Item) { found = found || item.Name == tool })
	return found || err != nil
}

// wish is what a caller wants called.
type wish struct {
	server, tool string
	arguments    []byte // raw, an object if nothing was said
}

func readWish(body []byte) (w wish, err error) {
	d := jsontext.NewDecoder(bytes.NewReader(body))
	w.arguments = []byte("{}")
	t, err := d.ReadToken()
	if err != nil {
		return w, err
	}
	if t.Kind() != '{' {
		return w, errNotObject
	}
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil {
			return w, err
		}
		key := name.String()
		value, err := d.ReadValue()
		if err != nil {
			return w, err
		}
		switch {
		case key == "server_id" && value.Kind() == '"':
			w.server = unquoted(value)
		case key == "name" && value.Kind() == '"':
			w.tool = unquoted(value)
		case key == "arguments" && value.Kind() != 'n':
			w.arguments = bytes.Clone(value)
		}
	}
	if _, err = d.ReadToken(); err != nil {
		return w, err
	}
	if rest := bytes.TrimSpace(body[d.InputOffset():]); len(rest) > 0 {
		return w, errNotObject
	}
	return w, nil
}
