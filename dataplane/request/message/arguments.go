package message

// EachArgument calls f with the name of each member of params.arguments, decoded, until f returns false. e must be Scan's result for body. err
// is a *fault.Error (client, request, malformed; -32602) when a name isn't valid Unicode, or arguments is neither an object nor null.
func EachArgument(body []byte, e *Envelope, f func(name string) bool) (err error) {
	arguments := Span{}
	if e.Params.opens(body, '{') {
		members(body, e.Params.Start, func(n []byte, value Span) bool {
			if is, _ := named(n, "arguments"); is {
				arguments = value
			}
			return true
		})
	}
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
