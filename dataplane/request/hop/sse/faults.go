package sse

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/hop/transport"
	"github.com/hopgate/hopgate/proto/fault"
)

// JSON-RPC codes of refusals that the gateway gives in a server's place.
const (
	codeSession = -32001 // as the SDKs' servers answer
	codeInvalid = -32600
)

const wrongTransport = "if the server speaks Streamable HTTP, set spec.transport to streamable_http; " +
	"else check that the URL is that of its SSE endpoint, often /sse"

// refusal is an answer with a JSON-RPC error. text is JSON without escapes.
func refusal(status int, id []byte, code int, text string) Answer {
	if len(id) == 0 {
		id = []byte("null")
	}
	b := append([]byte(`{"jsonrpc":"2.0","id":`), id...)
	b = strconv.AppendInt(append(b, `,"error":{"code":`...), int64(code), 10)
	b = append(append(append(b, `,"message":"`...), text...), `"}}`...)
	return Answer{Status: status, Type: transport.JSON, Body: &whole{data: b, length: int64(len(b))}}
}

func problem(server string, phase fault.Phase, kind fault.Kind, message, hint string) *fault.Error {
	return &fault.Error{Hop: fault.Upstream, Phase: phase, Kind: kind, Server: server, Message: message, Hint: hint}
}

func notStreamed(server string, status int) *fault.Error {
	f := problem(server, fault.Protocol, fault.Mismatch, "the endpoint of "+server+" doesn't open an event stream, as transport sse needs", wrongTransport)
	f.UpstreamStatus = status
	return f
}

func noEndpoint(server string, within time.Duration) *fault.Error {
	return problem(server, fault.Protocol, fault.TimedOut,
		"the server "+server+" opened a stream and didn't say within "+within.String()+" where messages go", wrongTransport)
}

func endedEarly(server string) *fault.Error {
	return problem(server, fault.Protocol, fault.Mismatch, "the server "+server+" ended its stream before it said where messages go", wrongTransport)
}

func otherOrigin(server string) *fault.Error {
	return problem(server, fault.Protocol, fault.Mismatch, "the server "+server+" wants messages at another origin than its stream's",
		"have the server name its message endpoint without scheme and host, or by the URL that the gateway calls")
}

func badEndpoint(server string) *fault.Error {
	return problem(server, fault.Protocol, fault.Malformed, "what the server "+server+" names as its message endpoint isn't a URL",
		"look at the server's endpoint event")
}

func cutStream(server string) *fault.Error {
	return problem(server, fault.Stream, fault.Reset, "the server "+server+" ended its stream without the answer", "look at the server's own log")
}

func unanswered(server string, phase fault.Phase, within time.Duration, option string) *fault.Error {
	return problem(server, phase, fault.TimedOut, "the server "+server+" took the request and sent nothing for it within "+within.String(),
		"look at the server's load and log, or raise spec.timeouts."+option)
}

func unreadable(server string) *fault.Error {
	return problem(server, fault.Protocol, fault.Malformed, "the stream of the server "+server+" brought something that isn't a JSON-RPC message",
		"look at the server's own log")
}

func slow(server string) *fault.Error {
	return &fault.Error{Hop: fault.Gateway, Phase: fault.Stream, Kind: fault.Exhausted, Server: server,
		Message: "the session with " + server + " was ended: its messages weren't read as fast as they came",
		Hint:    "read streams without pauses, or have the server send less; then initialize again"}
}

func unasked(server string) *fault.Error {
	return &fault.Error{Hop: fault.Gateway, Phase: fault.Stream, Kind: fault.Exhausted, Server: server,
		Message: "the session with " + server + " was ended: the server asked its client more than it answered",
		Hint:    "let the client hold a GET stream, and initialize again"}
}

func eventTooLarge(server string) *fault.Error {
	return problem(server, fault.Stream, fault.TooLarge, "an event of the server "+server+" is larger than the limit for events",
		"have the server send less in one event, or raise the event limit")
}

func resultTooLarge(server string) *fault.Error {
	return problem(server, fault.Body, fault.TooLarge, "the answer of the server "+server+" is larger than the limit for results",
		"have the server send less, or raise the result limit")
}

// ended tells requests under way that their session was closed.
func ended(server string) *fault.Error {
	return &fault.Error{Hop: fault.Client, Phase: fault.Session, Kind: fault.NotFound, Status: http.StatusNotFound, Code: fault.CodeSession, Server: server,
		Message: "the session with " + server + " has ended", Hint: "initialize again"}
}

func stopping(server string) *fault.Error {
	return &fault.Error{Hop: fault.Gateway, Phase: fault.Session, Kind: fault.Unavailable, Status: http.StatusServiceUnavailable, Code: fault.CodeUnavailable,
		Server: server, Message: "the data plane that holds the session is stopping", Hint: "initialize again"}
}

func crowded(server string, most int, here string) *fault.Error {
	return &fault.Error{Hop: fault.Gateway, Phase: fault.Limit, Kind: fault.Exhausted, Status: http.StatusServiceUnavailable, Server: server,
		RetryAfter: time.Second, Message: "this data plane holds " + strconv.Itoa(most) + " event streams " + here + ", which is its limit",
		Hint: "have clients end their sessions (DELETE), or try again later"}
}

// greedy is for a caller who has had its share of the sessions.
func greedy(server string, most int) *fault.Error {
	return &fault.Error{Hop: fault.Client, Phase: fault.Limit, Kind: fault.Exhausted, Server: server,
		Message: "this caller already holds " + strconv.Itoa(most) + " sessions with servers of transport sse here, which is its share",
		Hint:    "end sessions that aren't needed any more (DELETE), or wait for calls under way to end"}
}

// early is the end of a stream before it named an endpoint.
func early(err error, server string) error {
	if errors.Is(err, io.EOF) {
		return endedEarly(server)
	}
	return told(err, server)
}

// told is the end of a stream as one of those who waited for it shall see it: a fault of its own.
func told(err error, server string) error {
	var f *fault.Error
	switch {
	case err == nil, errors.Is(err, io.EOF):
		return cutStream(server)
	case errors.As(err, &f):
		own := *f
		own.Server = server
		return &own
	case errors.Is(err, context.Canceled):
		return stopping(server)
	}
	own := cutStream(server)
	own.Err = err
	return own
}
