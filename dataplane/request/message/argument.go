package message

import (
	"bytes"
	"net/http"

	"github.com/hopgate/hopgate/proto/fault"
)

// Argument returns the raw JSON of params.arguments.<name>, a subslice of body; ok is false when it isn't sent. Names in the body may be
// spelled with escapes. e must be Scan's result for body, which has refused a second arguments already.
//
// err is a *fault.Error (client, request, malformed; -32602) when servers could read different values: the name is there twice, or in other
// capitals (some parsers match names regardless of case), a name isn't valid Unicode, or arguments is neither an object nor null. ok is then
// true and raw is nil: something was sent, and nobody should be asked whether it is allowed.
func Argument(body []byte, e *Envelope, name string) (raw []byte, ok bool, err error) {
	arguments, found := argumentsOf(body, e), Span{}
	switch {
	case !arguments.Present() || arguments.opens(body, 'n'):
		return nil, false, nil
	case !arguments.opens(body, '{'):
		return nil, true, ambiguous("params.arguments isn't an object")
	}
	members(body, arguments.Start, func(n []byte, value Span) bool {
		is, near := named(n, name)
		switch {
		case near || is && found.Present():
			err = ambiguous("an argument that a rule of this gateway is about is there twice, in other capitals, or not valid Unicode")
		case is:
			found = value
		}
		return err == nil
	})
	if err != nil {
		return nil, true, err
	}
	return found.Of(body), found.Present(), nil
}

// argumentsOf returns where params.arguments stands.
func argumentsOf(body []byte, e *Envelope) (arguments Span) {
	if e.Params.opens(body, '{') {
		members(body, e.Params.Start, func(n []byte, value Span) bool {
			if is, _ := named(n, "arguments"); is {
				arguments = value
			}
			return true
		})
	}
	return arguments
}

// named compares a raw member name with want. near: it isn't want, but some parser could take it for that.
func named(raw []byte, want string) (is, near bool) {
	var room [64]byte
	text, ok := decode(raw, room[:0])
	switch {
	case !ok:
		return false, true
	case string(text) == want:
		return true, false
	}
	return false, bytes.EqualFold(text, []byte(want))
}

// ambiguous is a call whose arguments can't be held against a rule: -32602.
func ambiguous(msg string) error {
	return &fault.Error{Hop: fault.Client, Phase: fault.Request, Kind: fault.Malformed, Code: fault.CodeInvalidParams, Status: http.StatusBadRequest,
		Message: msg, Hint: "send each argument once, under the name that tools/list shows"}
}

// EachArgument calls f with the name of each member of params.arguments, decoded, until f returns false. e must be Scan's result for body. err
// is a *fault.Error (client, request, malformed; -32602) when a name isn't valid Unicode, or arguments is neither an object nor null.
func EachArgument(body []byte, e *Envelope, f func(name string) bool) (err error) {
	arguments := argumentsOf(body, e)
	switch {
	case !arguments.Present() || arguments.opens(body, 'n'):
		return nil
	case !arguments.opens(body, '{'):
		return ambiguous("params.arguments isn't an object")
	}
	members(body, arguments.Start, func(n []byte, _ Span) bool {
		name, ok := decode(n, nil)
		if !ok {
			err = ambiguous("the name of an argument isn't valid Unicode")
			return false
		}
		return f(string(name))
	})
	return err
}
