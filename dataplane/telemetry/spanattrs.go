package telemetry

import (
	"net"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"

	"github.com/hopgate/hopgate/proto/attr"
	"github.com/hopgate/hopgate/proto/fault"
)

// attrList gathers attributes and leaves out empty ones. Strings are copied: spans outlive the record.
type attrList []attribute.KeyValue

func (a *attrList) text(key, value string) {
	if value != "" {
		*a = append(*a, attribute.String(key, strings.Clone(strings.ToValidUTF8(cut(value, maxText), "\ufffd"))))
	}
}

func (a *attrList) number(key string, n int64) {
	if n != 0 {
		*a = append(*a, attribute.Int64(key, n))
	}
}

func (a *attrList) flag(key string, set bool) {
	if set {
		*a = append(*a, attribute.Bool(key, true))
	}
}

func (a *attrList) address(addrKey, portKey, hostport string) {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		a.text(addrKey, hostport)
		return
	}
	a.text(addrKey, host)
	if n, err := strconv.Atoi(port); err == nil {
		a.number(portKey, int64(n))
	}
}

// common is what the SERVER and the CLIENT span both say about the message.
func (m *spanMaker) common(r *Record) attrList {
	a := make(attrList, 0, 32)
	a.text(attr.Method, r.Method)
	a.text(attr.Tool, r.Tool)
	if r.Method == "tools/call" {
		a.text(attr.Operation, attr.ExecuteTool)
	}
	a.text(attr.Prompt, r.Prompt)
	a.text(attr.Resource, r.Resource)
	a.text(attr.Protocol, r.Revision)
	a.text(attr.RequestID, requestID(r.RequestID))
	a.text(attr.Session, r.Session)
	a.text(attr.SessionHash, r.Session)
	a.text(attr.Server, r.Server)
	a.text(attr.Region, m.region)
	a.text(attr.Node, m.node)
	a.text(attr.Transport, "tcp")
	a.text(attr.ProtocolName, "http")
	a.text(attr.RPCStatus, rpcStatus(r))
	return a
}

func (m *spanMaker) rootAttributes(r *Record) []attribute.KeyValue {
	a := m.common(r)
	a.text(attr.Hop, fault.Client.String())
	a.text(attr.ProtocolVersion, strings.TrimPrefix(r.Proto, "HTTP/"))
	a.address(attr.ClientAddress, attr.ClientPort, r.ClientAddr)
	a.text(attr.HTTPMethod, r.HTTPMethod)
	a.text(attr.URLPath, r.Path)
	a.number(attr.HTTPStatus, int64(r.Status))
	a.text(attr.Caller, r.Caller)
	a.text(attr.EndUser, r.EndUser)
	a.text(attr.Era, r.Era)
	a.flag(attr.OneShot, r.OneShot)
	a.number(attr.Events, int64(r.Events))
	a.number(attr.BytesIn, r.BytesIn)
	a.number(attr.BytesOut, r.BytesOut)
	a = append(a, attribute.Int64(attr.ConfigRevision, r.ConfigRevision))
	return a
}

func (m *spanMaker) callAttributes(r *Record) []attribute.KeyValue {
	a := m.common(r)
	a.text(attr.Hop, fault.Upstream.String())
	a.text(attr.ServerAddress, r.UpstreamAddr)
	a.number(attr.ServerPort, int64(r.UpstreamPort))
	a.address(attr.PeerAddress, attr.PeerPort, r.Upstream.Remote)
	a.number(attr.HTTPStatus, int64(r.UpstreamStatus))
	a.number(attr.Attempt, int64(r.Attempts))
	a.flag(attr.Reused, r.Upstream.Reused)
	return a
}

// requestID is the JSON-RPC id as the conventions write it: a string without its quotes.
func requestID(raw string) string {
	if len(raw) > 1 && raw[0] == '"' && raw[len(raw)-1] == '"' {
		return raw[1 : len(raw)-1]
	}
	return raw
}

// rpcStatus is the JSON-RPC error code of the answer, "" when it was a result.
func rpcStatus(r *Record) string {
	switch {
	case r.Fault != nil:
		return strconv.Itoa(r.Fault.JSONRPCCode())
	case isCode(r.Outcome):
		return r.Outcome
	}
	return ""
}
