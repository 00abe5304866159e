package rest

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/hopgate/hopgate/proto/fault"
)

// wish is what a caller wants called.
type wish struct {
	server, tool string
	arguments    []byte // raw, an object if nothing was said
}

// readWish reads the body of a call. What a parser behind us could read differently is refused, as is each field that has another type.
func readWish(body []byte) (wish, *fault.Error) {
	w := wish{arguments: []byte("{}")}
	d := jsontext.NewDecoder(bytes.NewReader(body))
	if kind := d.PeekKind(); kind != '{' && kind != 0 {
		if _, err := d.ReadValue(); err != nil {
			return w, unreadable(body, err)
		}
		return w, malformed("", "the request body must be a JSON object, and is "+kinds[kind])
	}
	if _, err := d.ReadToken(); err != nil {
		return w, unreadable(body, err)
	}
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil {
			return w, unreadable(body, err)
		}
		key := name.String()
		value, err := d.ReadValue()
		if err != nil {
			return w, unreadable(body, err)
		}
		if bad := w.take(key, value); bad != nil {
			return w, bad
		}
	}
	if _, err := d.ReadToken(); err != nil {
		return w, unreadable(body, err)
	}
	switch at := d.InputOffset(); {
	case len(bytes.TrimSpace(body[at:])) > 0:
		return w, malformed("", "the request body goes on behind its JSON object, from byte "+strconv.FormatInt(at, 10))
	case w.server == "":
		return w, missing("server_id")
	case w.tool == "":
		return w, missing("name")
	}
	return w, nil
}

// take takes one field over. null is as good as nothing.
func (w *wish) take(key string, value jsontext.Value) *fault.Error {
	wanted, kind := jsontext.Kind('"'), value.Kind()
	switch key {
	case "server_id", "name":
	case "arguments":
		wanted = '{'
	default:
		return nil
	}
	switch {
	case kind == 'n':
	case kind != wanted:
		return malformed(key, key+" must be "+kinds[wanted]+", and is "+kinds[kind])
	case key == "server_id":
		w.server = unquoted(value)
	case key == "name":
		w.tool = unquoted(value)
	default:
		w.arguments = bytes.Clone(value)
	}
	return nil
}

// kinds are JSON's types in words.
var kinds = map[jsontext.Kind]string{'n': "null", 't': "a boolean", 'f': "a boolean", '"': "a string", '0': "a number", '{': "an object", '[': "an array"}

// unreadable says what is wrong with a body that isn't JSON.
func unreadable(body []byte, err error) *fault.Error {
	var syntax *jsontext.SyntacticError
	text := "the request body isn't valid JSON"
	switch {
	case len(bytes.TrimSpace(body)) == 0:
		text = "the request body is empty"
	case !errors.As(err, &syntax):
	case errors.Is(err, jsontext.ErrDuplicateName):
		text = "the request body has a name twice in one object: " + string(syntax.JSONPointer)
	case errors.Is(err, io.ErrUnexpectedEOF):
		text += ": it ends before the object does"
	default:
		text += ": the trouble is near byte " + strconv.FormatInt(syntax.ByteOffset, 10)
	}
	f := malformed("", text)
	f.Err = err
	return f
}

// malformed is a request that can't be read; field is the one at fault, empty for the body as a whole.
func malformed(field, text string) *fault.Error {
	f := &fault.Error{Hop: fault.Client, Phase: fault.Request, Kind: fault.Malformed, Status: http.StatusBadRequest, Message: text,
		Hint: `send {"server_id": "…", "name": "…", "arguments": {…}}`}
	if field != "" {
		f.Data = `"field":"` + field + `"`
	}
	return f
}

func missing(field string) *fault.Error {
	f := malformed(field, field+" is required in the request body")
	f.Err = errMissing
	return f
}

// errMissing marks what has a word of its own on this face.
var errMissing = errors.New("a required field is missing")
