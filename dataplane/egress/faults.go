package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/url"
	"syscall"
	"time"

	"github.com/hopgate/hopgate/dataplane/netcause"
	"github.com/hopgate/hopgate/proto/fault"
)

// far makes a fault of the leg to an authorization server that this side concluded.
func far(p fault.Phase, k fault.Kind, err error, message, hint string) *fault.Error {
	return &fault.Error{Hop: fault.AuthServer, Phase: p, Kind: k, Err: err, Message: message, Hint: hint}
}

// internal is a mistake of this process, told as such.
func internal(err error) *fault.Error {
	return &fault.Error{Hop: fault.Gateway, Phase: fault.Request, Kind: fault.Internal, Err: err,
		Message: "the gateway made a request it can't send", Hint: "this is a defect of the gateway; please report it with the trace id"}
}

func unusable(stranger bool) error {
	if stranger {
		return refused("the authorization server's metadata names an address that isn't a plain https URL")
	}
	return internal(errors.New("egress: not an absolute http or https URL without userinfo"))
}

func notHTTPS() error {
	return refused("the authorization server's metadata names an address that isn't https")
}

func notThatPort() error {
	return refused("the authorization server's metadata names a port below 1024 other than 443")
}

func notPublic() error {
	return refused("the authorization server's metadata names a host with an address that isn't public")
}

func refused(message string) *fault.Error {
	return far(fault.Connect, fault.Denied, nil, message,
		"what metadata names is reached by https at public addresses only; configure that URL yourself if it is meant")
}

func dnsFault(err error) *fault.Error {
	var d *net.DNSError
	switch {
	case errors.As(err, &d) && d.IsNotFound, errors.Is(err, errNoAddress):
		return far(fault.DNS, fault.NotFound, err, "the host name of the authorization server doesn't exist",
			"check the host in the configured URL, and that this machine's resolver knows it")
	case netcause.TimedOut(err):
		return far(fault.DNS, fault.TimedOut, err, "the name server didn't answer in time about the authorization server's host name",
			"check this machine's resolver configuration and the way to its name servers")
	}
	return far(fault.DNS, fault.Unavailable, err, "the host name of the authorization server couldn't be resolved",
		"check this machine's resolver configuration and the state of its name servers")
}

func connectFault(err error) *fault.Error {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return far(fault.Connect, fault.Refused, err, "the authorization server's machine refused the connection",
			"nothing listens on that port: check that the authorization server runs and the port in the configured URL")
	case netcause.TimedOut(err):
		return far(fault.Connect, fault.TimedOut, err, "the authorization server didn't accept a connection in time",
			"a firewall may drop the packets, or the server is overloaded; check the host and port in the configured URL")
	case errors.Is(err, syscall.ECONNRESET):
		return far(fault.Connect, fault.Reset, err, "the connection to the authorization server was reset while it was being made",
			"look at the authorization server and at what stands in front of it")
	case netcause.NoSocket(err):
		return far(fault.Connect, fault.Exhausted, err, "the gateway has no socket left for a connection to the authorization server",
			"raise the limit of open files of the gateway, or its range of local ports")
	}
	return far(fault.Connect, fault.Unreachable, err, "there is no way to the authorization server's machine",
		"check the address in the configured URL, the routes and the firewalls between the gateway and the authorization server")
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
		return far(fault.TLS, fault.Malformed, err, "the authorization server doesn't speak TLS on this port",
			"check scheme and port of the configured URL")
	case netcause.Alert(err):
		f := far(fault.TLS, fault.Refused, err, "the authorization server refused the TLS handshake",
			"it may want a client certificate, another host name (SNI) or another TLS version; its log says which")
		f.Remote = true
		return f
	case netcause.TimedOut(err):
		return far(fault.TLS, fault.TimedOut, err, "the authorization server didn't finish the TLS handshake in time",
			"check that it speaks TLS on this port, and its load")
	case netcause.Cut(err):
		return far(fault.TLS, fault.Reset, err, "the authorization server hung up during the TLS handshake",
			"check that it speaks TLS on this port and accepts this host name")
	}
	return far(fault.TLS, fault.Malformed, err, "the TLS handshake with the authorization server failed",
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
			return far(fault.TLS, fault.Expired, err, "the authorization server's certificate isn't valid yet", "check the clocks of the gateway and of the certificate's issuer")
		}
		return far(fault.TLS, fault.Expired, err, "the authorization server's certificate has expired", "renew the server's certificate")
	case errors.As(err, &name):
		return far(fault.TLS, fault.Mismatch, err, "the authorization server's certificate is for another host name",
			"use a host name the certificate lists, or have it issued for this one")
	case errors.As(err, &unknown):
		return far(fault.TLS, fault.Unauthenticated, err, "the authorization server's certificate is from an unknown authority",
			"give the gateway the authority's certificate, and let the server send its intermediate certificates")
	case errors.As(err, &invalid), errors.As(err, &other):
		return far(fault.TLS, fault.Unauthenticated, err, "the authorization server's certificate couldn't be verified",
			"look at the server's certificate and its chain: usage, constraints, signature")
	}
	return nil
}

// failed makes a fault of what ended a request before the head of its answer was complete.
func (x *exchange) failed(err error) *fault.Error {
	err = withoutURL(err)
	if f := fault.As(err); f != nil {
		return f
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return x.late(x.gaveUp(err))
	case netcause.Alert(err): // TLS 1.3 servers refuse a client after its handshake is over
		return tlsFault(err)
	case netcause.Cut(err), !x.answering():
		return far(x.head(), fault.Reset, err, "the authorization server hung up without an answer",
			"look at its log for a crash, a restart or a limit it enforces, and at the proxies in front of it")
	}
	return far(x.head(), fault.Malformed, err, "the authorization server's answer isn't valid HTTP/1.1",
		"check that the configured URL names an HTTP server and the right port; look at the proxies in front of it")
}

// gaveUp adds why the caller's context ended, if it did.
func (x *exchange) gaveUp(err error) error {
	if cause := x.caller.Err(); cause != nil && !errors.Is(err, cause) {
		return errors.Join(err, cause)
	}
	return err
}

// late is a time limit that passed, in the step that the call was waiting in.
func (x *exchange) late(err error) *fault.Error {
	const hint = "look at the authorization server and the way to it"
	switch x.step.Load() {
	case stepDNS:
		return far(fault.DNS, fault.TimedOut, err, "the name server didn't answer in time about the authorization server's host name",
			"check this machine's resolver configuration and the way to its name servers")
	case stepConnect:
		return far(fault.Connect, fault.TimedOut, err, "the authorization server didn't accept a connection in time", hint)
	case stepTLS:
		return far(fault.TLS, fault.TimedOut, err, "the authorization server didn't finish the TLS handshake in time", hint)
	}
	return far(x.head(), fault.TimedOut, err, "the authorization server didn't answer in time", hint)
}

// cutOff is a body that ended early.
func (x *exchange) cutOff(err error, status int) *fault.Error {
	err = withoutURL(err)
	f := far(x.body(), fault.Reset, err, "the authorization server's answer was cut off", "look at its log for a crash or a restart, and at the limits of proxies in front of it")
	if netcause.TimedOut(err) || errors.Is(err, context.Canceled) {
		f = far(x.body(), fault.TimedOut, x.gaveUp(err), "the authorization server fell silent in the middle of its answer", "look at the authorization server and the way to it")
	}
	f.UpstreamStatus = status
	return f
}

func (x *exchange) tooLarge(status int) *fault.Error {
	f := far(x.body(), fault.TooLarge, nil, "the authorization server's answer is larger than the gateway reads", "check that the configured URL is the right one")
	f.UpstreamStatus = status
	return f
}

// head is the phase of faults before the answer's head is complete.
func (x *exchange) head() fault.Phase {
	switch x.request.Phase {
	case fault.Token:
		return fault.Token
	case fault.Exchange:
		return fault.Exchange
	}
	return fault.Headers
}

// body is the phase of faults behind the head.
func (x *exchange) body() fault.Phase {
	switch x.request.Phase {
	case fault.Token:
		return fault.Token
	case fault.Exchange:
		return fault.Exchange
	}
	return fault.Body
}

// repeatable reports whether a fault may be gone at the next attempt.
func repeatable(f *fault.Error) bool {
	switch f.Kind {
	case fault.Refused, fault.TimedOut, fault.Reset, fault.Unreachable, fault.Unavailable:
		return f.Hop == fault.AuthServer
	}
	return false
}

// withoutURL drops net/http's wrapping, which holds the whole URL.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
