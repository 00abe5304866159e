package api

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/hopgate/hopgate/controlplane/admit"
	"github.com/hopgate/hopgate/proto/confset"
	"github.com/hopgate/hopgate/proto/rules"
)

// checkQuery refuses parameters that a call doesn't have: ignoring one, such as a misspelt validate_only, would do something else than asked.
func checkQuery(rt *route, raw string) error {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return status.Error(codes.InvalidArgument, "the query doesn't parse; write it as name=value pairs joined by &, with other characters percent-encoded")
	}
	names := make([]string, len(rt.query))
	for i, fd := range rt.query {
		names[i] = string(fd.Name())
	}
	var bad admit.Violations
	for key, vals := range values {
		i := slices.Index(names, key)
		switch {
		case i < 0:
			bad = append(bad, admit.Violation{Field: key, Problem: "is not a query parameter of this call", Fix: knownParameters(key, names)})
		case len(vals) > 1:
			bad = append(bad, admit.Violation{Field: key, Problem: fmt.Sprintf("is given %d times", len(vals)), Fix: "give it once"})
		default:
			bad = append(bad, checkParameter(rt.query[i], vals[0])...)
		}
	}
	if len(bad) == 0 {
		return nil
	}
	slices.SortFunc(bad, func(a, b admit.Violation) int { return strings.Compare(a.Field, b.Field) })
	return invalid(bad)
}

func knownParameters(key string, names []string) string {
	if n := rules.Nearest(key, names); n != "" {
		return "nearest is " + n
	}
	if len(names) == 0 {
		return "it takes none"
	}
	return "known are " + strings.Join(names, ", ")
}

func checkParameter(fd protoreflect.FieldDescriptor, value string) admit.Violations {
	var want string
	var err error
	switch fd.Kind() {
	case protoreflect.BoolKind:
		_, err = strconv.ParseBool(value)
		want = "true or false"
	case protoreflect.Int32Kind:
		_, err = strconv.ParseInt(value, 10, 32)
		want = "a whole number"
	}
	if err == nil {
		return nil
	}
	return admit.Violations{{Field: string(fd.Name()), Problem: "isn't " + want, Fix: "write " + want}}
}

// readBody reads a body whole, within the limit, and checks it strictly. Its error comes with the HTTP status.
func readBody(w http.ResponseWriter, r *http.Request, rt *route) ([]byte, int, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, BodyLimit))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return nil, http.StatusRequestEntityTooLarge, status.Errorf(codes.ResourceExhausted, "the body is larger than %d bytes; send less", BodyLimit)
		}
		return nil, http.StatusBadRequest, status.Error(codes.InvalidArgument, "the body ended early")
	}
	if rt.body == nil {
		if len(body) > 0 {
			return nil, http.StatusBadRequest, status.Errorf(codes.InvalidArgument, "%s takes no body", r.Method)
		}
		return nil, 0, nil
	}
	if err := checkContentType(r.Header); err != nil {
		return nil, http.StatusUnsupportedMediaType, err
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, http.StatusBadRequest, status.Error(codes.InvalidArgument, "the body is empty; send JSON")
	}
	if err := rules.Decode(body, rt.body.New().Interface()); err != nil {
		return nil, http.StatusBadRequest, undecoded(err)
	}
	return body, 0, nil
}

func undecoded(err error) error {
	var vs rules.Violations
	if errors.As(err, &vs) {
		for i := range vs {
			if strings.HasSuffix(vs[i].Field, fieldValue) {
				vs[i].Fix = "write it as text in quotes" // what it was may be the value of a secret
			}
		}
		return invalidRules(confset.Key{}, "", vs)
	}
	return status.Error(codes.InvalidArgument, "the body isn't what this call takes")
}

// checkContentType takes JSON, and the form type that curl -d claims for whatever it sends.
func checkContentType(h http.Header) error {
	if e := h.Get("Content-Encoding"); e != "" && e != "identity" {
		return status.Error(codes.InvalidArgument, "compressed bodies aren't taken; send it as it is")
	}
	t := h.Get("Content-Type")
	if t == "" {
		return nil
	}
	media, _, err := mime.ParseMediaType(t)
	if err == nil && (media == "application/json" || strings.HasSuffix(media, "+json") || media == "application/x-www-form-urlencoded") {
		return nil
	}
	return status.Error(codes.InvalidArgument, "the body's type isn't JSON; send it with Content-Type: application/json")
}
