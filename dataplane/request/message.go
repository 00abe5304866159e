package request

import (
	"compress/gzip"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/hop"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/proto/fault"
	"github.com/hopgate/hopgate/proto/redact"
)

// read takes the body in once, bounded, and scans the envelope.
func (h *Handler) read(x *exchange) error {
	if err := checkType(x.in.Header); err != nil {
		return err
	}
	if err := h.readBody(x); err != nil {
		return err
	}
	x.rec.BytesIn = int64(len(x.body))
	err := message.Scan(x.body, x.table.Settings().Depth, &x.env)
	x.rec.Read = time.Now()
	if err != nil {
		return err
	}
	if x.env.Kind == message.Batch {
		return nil // batch looks into it
	}
	x.describe()
	return nil
}

// describe notes in the record what the message is.
func (x *exchange) describe() {
	x.rec.Method = x.env.MethodString(x.body)
	if id := x.id(); len(id) > 0 && len(id) <= 64 {
		x.rec.RequestID = string(id)
	}
	switch x.rec.Method {
	case "tools/call":
		x.rec.Tool = x.env.NameString(x.body)
	case "prompts/get":
		x.rec.Prompt = x.env.NameString(x.body)
	case "resources/read", "resources/subscribe", "resources/unsubscribe":
		x.rec.Resource = redact.Text(x.env.URIString(x.body))
	}
}

func checkType(h http.Header) error {
	v := h.Get("Content-Type")
	if v == "application/json" {
		return nil
	}
	if t, _, err := mime.ParseMediaType(v); err == nil && t == "application/json" {
		return nil
	}
	return &fault.Error{Hop: fault.Client, Phase: fault.Request, Kind: fault.Unsupported, Status: http.StatusUnsupportedMediaType,
		Message: "the body must be JSON", Hint: "send Content-Type: application/json"}
}

func (h *Handler) readBody(x *exchange) error {
	if x.in.Length > x.table.Settings().Body {
		return tooLarge(x.table.Settings().Body)
	}
	switch strings.ToLower(x.in.Header.Get("Content-Encoding")) {
	case "", "identity":
	case "gzip":
		z, err := gzip.NewReader(x.in.Body)
		if err != nil {
			return malformed("the body is not gzip although Content-Encoding says so", err)
		}
		return h.readUpTo(x, z)
	default:
		return &fault.Error{Hop: fault.Client, Phase: fault.Request, Kind: fault.Unsupported, Status: http.StatusUnsupportedMediaType,
			Message: "the body's encoding isn't known here", Hint: "send it as it is, or with Content-Encoding: gzip"}
	}
	if x.in.Length < 0 {
		return h.readUpTo(x, x.in.Body)
	}
	return h.readExactly(x, int(x.in.Length))
}

// readExactly reads a body of known length.
func (h *Handler) readExactly(x *exchange, n int) error {
	if err := h.room(x, n); err != nil {
		return err
	}
	x.body = x.body[:n]
	if _, err := io.ReadFull(x.in.Body, x.body); err != nil {
		x.body = x.body[:0]
		return brokenBody(err)
	}
	return nil
}

// readUpTo reads a body whose length only its end tells.
func (h *Handler) readUpTo(x *exchange, src io.Reader) error {
	limit := x.table.Settings().Body
	for {
		if len(x.body) == cap(x.body) {
			if err := h.room(x, int(min(max(4<<10, 2*int64(cap(x.body))), limit+1))); err != nil {
				return err
			}
		}
		n, err := src.Read(x.body[len(x.body):cap(x.body)])
		x.body = x.body[:len(x.body)+n]
		switch {
		case int64(len(x.body)) > limit:
			x.body = x.body[:0]
			return tooLarge(limit)
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			x.body = x.body[:0]
			return brokenBody(err)
		}
	}
}

// room makes the body's buffer n bytes large. A large one counts twice: a copy of it goes upstream.
func (h *Handler) room(x *exchange, n int) error {
	if n <= cap(x.body) {
		return nil
	}
	if more := 2 * int64(n-max(cap(x.body), small)); more > 0 && !h.hold(x, more) {
		return crowded()
	}
	x.body = slices.Grow(x.body, n-len(x.body))
	return nil
}

func tooLarge(limit int64) error {
	return &fault.Error{Hop: fault.Client, Phase: fault.Limit, Kind: fault.TooLarge,
		Message: "the body is larger than " + strconv.FormatInt(limit, 10) + " bytes",
		Hint:    "send less, or raise spec.limits.body in Settings"}
}

func malformed(msg string, err error) error {
	return &fault.Error{Hop: fault.Client, Phase: fault.Request, Kind: fault.Malformed, Code: fault.CodeParse, Message: msg, Err: err}
}

func brokenBody(err error) error {
	var timeout interface{ Timeout() bool }
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return &fault.Error{Hop: fault.Client, Phase: fault.Request, Kind: fault.TimedOut, Message: "the body didn't arrive in time", Err: err}
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum):
		return malformed("the body is not gzip although Content-Encoding says so", err)
	}
	return malformed("the body ended before it was complete", err)
}

// speak decides the caller's revision once, and checks that headers and body agree on it.
func (x *exchange) speak() error {
	x.era = message.EraOf(x.in.Header, x.body, &x.env)
	x.rec.Era = x.era.String()
	if err := message.Agree(x.in.Header, x.body, &x.env, x.era); err != nil {
		return err
	}
	x.call.Revision = x.in.Header.Get("Mcp-Protocol-Version")
	if x.rec.Method == "initialize" && !message.Known(x.call.Revision) {
		x.call.Revision = "" // nobody has checked it: the body offers, the server answers
	}
	x.rec.Revision = x.call.Revision
	if offer := x.env.OfferString(x.body); x.rec.Method == "initialize" && message.Known(offer) {
		x.rec.Revision = offer
	}
	if x.era == message.Modern {
		x.mirror()
	}
	return nil
}

// mirror takes over the headers that repeat parts of the body, as Agree has found them to do.
func (x *exchange) mirror() {
	x.call.MCPMethod = first(x.in.Header["Mcp-Method"])
	name := x.rec.Method
	if x.env.Kind != message.Request {
		name = "" // Agree compares the names of requests only
	}
	switch name {
	case "tools/call", "prompts/get", "resources/read", "tasks/get", "tasks/update", "tasks/cancel":
		x.call.MCPName = first(x.in.Header["Mcp-Name"])
	}
	for k, values := range x.in.Header {
		if !strings.HasPrefix(k, "Mcp-Param-") { // they mirror arguments, and only the server knows which (SEP-2243)
			continue
		}
		for _, v := range values {
			x.call.Params = append(x.call.Params, hop.Field{Name: k, Value: v})
		}
	}
}

func first(v []string) string {
	if len(v) == 0 {
		return ""
	}
	return v[0]
}
