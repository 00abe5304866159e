package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"syscall"
	"time"

	"github.com/hopgate/hopgate/dataplane/netcause"
	"github.com/hopgate/hopgate/proto/fault"
)

// upstream makes a fault of the upstream leg that this side concluded.
func upstream(p fault.Phase, k fault.Kind, err error, message, hint string) *fault.Error {
	return &fault.Error{Hop: fault.Upstream, Phase: p, Kind: k, Err: err, Message: message, Hint: hint}
}

// internal is a mistake of this process, told as such.
func internal(what string) *fault.Error {
	return &fault.Error{Hop: fault.Gateway, Phase: fault.Request, Kind: fault.Internal, Err: errors.New("transport: " + what),
		Message: "the gateway made a request it can't send", Hint: "this is a defect of the gateway; please report it with the trace id"}
}

// givenUp says that the caller's context ended the call. It is no fault.
type givenUp struct {
	at    fault.Phase
	cause error
}

func gone(ctx context.Context, at fault.Phase) error { return &givenUp{at, ctx.Err()} }

func (e *givenUp) Error() string {
	return "transport: the call was given up in phase " + e.at.String() + ": " + e.cause.Error()
}

func (e *givenUp) Unwrap() error { return e.cause }

// Reached is where the call was then: dns, connect, tls, headers, body or stream. Who asks looks for an error with this method.
func (e *givenUp) Reached() fault.Phase { return e.at }

// timedOut makes a fault of a missed deadline; when it was the total limit that passed, it says so instead.
func (r *Response) timedOut(p fault.Phase, err error, message, hint string) *fault.Error {
	if !r.total.IsZero() && !time.Now().Before(r.total) {
		message, hint = "the call took longer than its total time limit", "look at why the server needs so long, or raise the total timeout"
	}
	return upstream(p, fault.TimedOut, err, message, hint)
}

// unsentError marks a cause: not a byte of the request left.
type unsentError struct{ error }

func (e unsentError) Unwrap() error { return e.error }

// unsent marks a fault.
func unsent(err error) error {
	if f := fault.As(err); f != nil && f.Err != nil {
		f.Err = unsentError{f.Err}
	}
	return err
}

// Unsent reports whether a call failed before the first byte of its request left, so that it can't have run.
func Unsent(err error) bool {
	var u unsentError
	return errors.As(err, &u)
}

func dnsFault(err error) *fault.Error {
	var d *net.DNSError
	switch {
	case errors.As(err, &d) && d.IsNotFound, errors.Is(err, errNoAddress):
		return upstream(fault.DNS, fault.NotFound, err, "the host name of the upstream doesn't exist",
			"check the host in the endpoint's URL, and that this machine's resolver knows it")
	case netcause.TimedOut(err):
		return upstream(fault.DNS, fault.TimedOut, err, "the name server didn't answer in time about the upstream's host name",
			"check this machine's resolver configuration and the way to its name servers")
	}
	return upstream(fault.DNS, fault.Unavailable, err, "the host name of the upstream couldn't be resolved",
		"check this machine's resolver configuration and the state of its name servers")
}

func connectFault(err error) *fault.Error {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return upstream(fault.Connect, fault.Refused, err, "the upstream's machine refused the connection",
			"nothing listens on that port: check that the server runs and the port in the endpoint's URL")
	case netcause.TimedOut(err):
		return upstream(fault.Connect, fault.TimedOut, err, "the upstream didn't accept a connection in time",
			"a firewall may drop the packets, or the server is overloaded; check the host, the port and the connect timeout")
	case errors.Is(err, syscall.ECONNRESET):
		return upstream(fault.Connect, fault.Reset, err, "the connection to the upstream was reset while it was being made",
			"look at the server and at what stands in front of it")
	case netcause.NoSocket(err):
		return upstream(fault.Connect, fault.Exhausted, err, "the gateway has no socket left for a connection to the upstream",
			"raise the limit of open files of the gateway, or its range of local ports")
	}
	return upstream(fault.Connect, fault.Unreachable, err, "there is no way to the upstream's machine",
		"check the address in the endpoint's URL, the routes and the firewalls between the gateway and the server")
}

// rank orders the failures of several addresses: the one that says most about the server wins.
func rank(err error) int { return netcause.Rank(connectFault(err).Kind) }

func tlsFault(err error) *fault.Error {
	if f := certificateFault(err); f != nil {
		return f
	}
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &record):
		return upstream(fault.TLS, fault.Malformed, err, "the upstream doesn't speak TLS on this port",
			"use http:// in the endpoint's URL, or the port on which the server speaks TLS")
	case netcause.Alert(err):
		f := upstream(fault.TLS, fault.Refused, err, "the upstream refused the TLS handshake",
			"it may want a client certificate, another host name (SNI) or another TLS version; its log says which")
		f.Remote = true
		return f
	case netcause.TimedOut(err):
		return upstream(fault.TLS, fault.TimedOut, err, "the upstream didn't finish the TLS handshake in time",
			"check that the server speaks TLS on this port, its load and the connect timeout")
	case netcause.Cut(err):
		return upstream(fault.TLS, fault.Reset, err, "the upstream hung up during the TLS handshake",
			"check that the server speaks TLS on this port and accepts this host name")
	}
	return upstream(fault.TLS, fault.Malformed, err, "the TLS handshake with the upstream failed",
		"compare the TLS versions and ciphers of the server with the gateway's")
}

// certificateFault names what is wrong with the server's certificate; nil when it isn't about that.
func certificateFault(err error) *fault.Error {
	var (
		invalid x509.CertificateInvalidError
		name    x509.HostnameError
		unknown x509.UnknownAuthorityError
		other   *tls.CertificateVerificationError
	)
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		if invalid.Cert != nil && time.Now().Before(invalid.Cert.NotBefore) {
			return upstream(fault.TLS, fault.Expired, err, "the upstream's certificate isn't valid yet", "check the clocks of the gateway and of the server's issuer")
		}
		return upstream(fault.TLS, fault.Expired, err, "the upstream's certificate has expired", "renew the server's certificate")
	case errors.As(err, &name):
		return upstream(fault.TLS, fault.Mismatch, err, "the upstream's certificate is for another host name",
			"use a host name the certificate lists, or have it issued for this one")
	case errors.As(err, &unknown):
		return upstream(fault.TLS, fault.Unauthenticated, err, "the upstream's certificate is from an unknown authority",
			"give the gateway the authority's certificate, and let the server send its intermediate certificates")
	case errors.As(err, &invalid), errors.As(err, &other):
		return upstream(fault.TLS, fault.Unauthenticated, err, "the upstream's certificate couldn't be verified",
			"look at the server's certificate and its chain: usage, constraints, signature")
	}
	return nil
}

// headFault is a failure before the head of the answer was complete.
func (r *Response) headFault(err error) error {
	if r.ctx.Err() != nil {
		return gone(r.ctx, fault.Headers)
	}
	if fault.As(err) != nil {
		return err
	}
	switch {
	case netcause.Alert(err): // TLS 1.3 servers refuse a client after its handshake is over
		return tlsFault(err)
	case r.sendErr != nil:
		return upstream(fault.Headers, fault.Reset, errors.Join(r.sendErr, err), "the upstream hung up while the request was being sent", resetHint)
	case errors.Is(err, errDeadline):
		return r.timedOut(fault.Headers, err, "the upstream didn't answer within the first-byte time limit",
			"look at why the server needs so long, or raise the first_byte timeout")
	case netcause.Cut(err):
		return upstream(fault.Headers, fault.Reset, err, "the upstream hung up without an answer", resetHint)
	}
	return upstream(fault.Headers, fault.Reset, err, "the connection to the upstream broke before it answered", resetHint)
}

const resetHint = "the request may have been carried out; look at the server's log for a crash, a restart or a limit it enforces"

// malformed is an answer that isn't HTTP/1.1 as we accept it.
func (r *Response) malformed(p fault.Phase, what string) *fault.Error {
	f := upstream(p, fault.Malformed, nil, "the upstream's answer isn't valid HTTP/1.1: "+what,
		"check that the endpoint's URL names an HTTP/1.1 server and the right port; look at the server and the proxies in front of it")
	f.UpstreamStatus = r.Status
	return f
}

func (r *Response) tooLarge(p fault.Phase, what, hint string) *fault.Error {
	f := upstream(p, fault.TooLarge, nil, what, hint)
	f.UpstreamStatus = r.Status
	return f
}

// bodyFault is a failure after the head.
func (r *Response) bodyFault(err error) error {
	if r.ctx.Err() != nil {
		return gone(r.ctx, r.phase())
	}
	f := fault.As(err)
	switch {
	case f != nil:
	case errors.Is(err, errDeadline):
		f = r.timedOut(r.phase(), err, "the upstream fell silent in the middle of its answer", "look at the server, or raise the idle timeout")
	default:
		f = upstream(r.phase(), fault.Reset, err, "the upstream's answer was cut off", "look at the server's log for a crash or a restart, and at the limits of proxies in front of it")
	}
	f.UpstreamStatus = r.Status
	return f
}

// phase is where a failure of the body belongs.
func (r *Response) phase() fault.Phase {
	if r.ctype == SSE {
		return fault.Stream
	}
	return fault.Body
}
