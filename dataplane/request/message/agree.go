package message

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"
)

// Agree checks that headers and body of a message say the same, so that whoever routes by the one and whoever serves by the other can't be
// played off against each other (2026-07-28, SEP-2243 and SEP-2575). h has canonical keys. supported lists the modern revisions to accept and
// to offer; none means ModernRevisions. Legacy messages other than initialize have their version header checked and nothing else.
//
// All errors are *fault.Error with status 400. In this order: -32020 when a header is missing, malformed, sent twice or different from the
// body; -32602 when _meta lacks what each request needs; -32022 with data.supported and data.requested when the revision isn't supported;
// -32600 for a response or batch, which 2026-07-28 doesn't know. Mcp-Param-* headers are checked for forbidden bytes only: their meaning is
// in the tool's schema, which the server has.
func Agree(h http.Header, body []byte, e *Envelope, era Era, supported ...string) error {
	if era == Legacy {
		if string(inner(e.Method, body)) == "initialize" {
			return nil // nothing is settled yet: the body offers, the server answers
		}
		return CheckRevision(h, Legacy)
	}
	if e.Kind != Request && e.Kind != Notification {
		return invalid("MCP 2026-07-28 takes one request or notification per POST")
	}
	if len(supported) == 0 {
		supported = modernRevisions[:]
	}
	if err := agreeVersion(h, body, e, supported); err != nil {
		return err
	}
	if e.Kind == Request && !e.Capabilities.opens(body, '{') {
		return badMeta(metaCapabilities)
	}
	if err := agreeMethod(h, body, e); err != nil {
		return err
	}
	if err := agreeName(h, body, e); err != nil {
		return err
	}
	return plainParams(h)
}

var modernRevisions = [...]string{Rev20260728}

// agreeVersion compares MCP-Protocol-Version with _meta. Notifications may come without _meta: the schema doesn't ask them for it.
func agreeVersion(h http.Header, body []byte, e *Envelope, supported []string) error {
	header, n := single(h, headerProtocol)
	switch {
	case n == 0 && e.Kind == Notification && !e.Protocol.Present():
		return nil
	case n == 0:
		return disagree("the MCP-Protocol-Version header is required")
	case n > 1:
		return disagree("the MCP-Protocol-Version header was sent more than once")
	case e.Protocol.Present() && !e.Protocol.opens(body, '"'):
		return badMeta(metaProtocol)
	case e.Protocol.Present() && !equal(header, e.Protocol, body):
		return disagree("the MCP-Protocol-Version header doesn't match " + metaProtocol + " in params._meta")
	case !slices.Contains(supported, header):
		return unsupported(supported, header)
	case e.Kind == Request && !e.Protocol.Present():
		return badMeta(metaProtocol)
	}
	return nil
}

// agreeMethod compares Mcp-Method. It is required on requests; what it means on notifications isn't specified, so there only a wrong one is
// refused.
func agreeMethod(h http.Header, body []byte, e *Envelope) error {
	header, n := single(h, headerMethod)
	switch {
	case n == 0 && e.Kind == Notification:
		return nil
	case n == 0:
		return disagree("the Mcp-Method header is required")
	case n > 1:
		return disagree("the Mcp-Method header was sent more than once")
	case !equal(header, e.Method, body):
		return disagree("the Mcp-Method header doesn't match the method in the body")
	}
	return nil
}

// agreeName compares Mcp-Name with the member of params that the method is about.
func agreeName(h http.Header, body []byte, e *Envelope) error {
	member, value, ok := e.subject(body)
	if !ok || e.Kind != Request {
		return nil
	}
	header, n := single(h, headerName)
	switch {
	case n == 0:
		return disagree("the Mcp-Name header is required with this method")
	case n > 1:
		return disagree("the Mcp-Name header was sent more than once")
	}
	decoded, ok := DecodeHeader(header)
	switch {
	case !ok:
		return disagree("the Mcp-Name header is malformed: use visible ASCII, or =?base64?...?= around UTF-8")
	case !equal(decoded, value, body):
		return disagree("the Mcp-Name header doesn't match params." + member + " in the body")
	}
	return nil
}

// subject returns the member of params that Mcp-Name mirrors; ok is false for methods without one.
func (e *Envelope) subject(body []byte) (member string, value Span, ok bool) {
	switch e.MethodString(body) {
	case "tools/call", "prompts/get":
		return "name", e.Name, true
	case "resources/read":
		return "uri", e.URI, true
	case "tasks/get", "tasks/update", "tasks/cancel":
		return "taskId", e.TaskID, true
	}
	return "", Span{}, false
}

// plainParams refuses bytes in Mcp-Param-* values that no HTTP field may hold.
func plainParams(h http.Header) error {
	for k, vs := range h {
		if !strings.HasPrefix(k, paramPrefix) {
			continue
		}
		for _, v := range vs {
			if strings.IndexFunc(v, func(r rune) bool { return r < 0x20 && r != '\t' || r == 0x7f }) >= 0 {
				return disagree("an Mcp-Param-* header holds a control character")
			}
		}
	}
	return nil
}

// single returns the first value of a header, without surrounding blanks (RFC 9110, OWS), and how many values there are.
func single(h http.Header, key string) (string, int) {
	v := h[key]
	if len(v) == 0 {
		return "", 0
	}
	return trim(v[0]), len(v)
}

// trim takes off surrounding blanks; net/http has usually done so.
func trim(s string) string {
	for len(s) > 0 && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for len(s) > 0 && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

// equal reports whether s is what a JSON string stands for.
func equal(s string, value Span, body []byte) bool {
	if !value.opens(body, '"') {
		return false
	}
	var room [128]byte
	t, ok := decode(inner(value, body), room[:0])
	return ok && string(t) == s
}

const (
	encodedPrefix = "=?base64?"
	encodedSuffix = "?="
)

// DecodeHeader returns what the value of Mcp-Name stands for (2026-07-28, SEP-2243): itself, or the UTF-8 text inside =?base64?...?=. ok is
// false for bad base64, for text that isn't UTF-8, and for bytes outside visible ASCII and space.
func DecodeHeader(v string) (text string, ok bool) {
	for i := range len(v) {
		if v[i] < 0x20 || v[i] > 0x7e {
			return "", false
		}
	}
	enc, ok := strings.CutPrefix(v, encodedPrefix)
	if !ok {
		return v, true
	}
	if enc, ok = strings.CutSuffix(enc, encodedSuffix); !ok {
		return v, true
	}
	b, err := base64.StdEncoding.DecodeString(enc)
	if err != nil || !utf8.Valid(b) {
		return "", false
	}
	return string(b), true
}

// AppendHeader appends text as a header value that DecodeHeader turns back into text: as it is where that is unambiguous, else in base64.
func AppendHeader(dst []byte, text string) []byte {
	if plain(text) {
		return append(dst, text...)
	}
	dst = append(dst, encodedPrefix...)
	dst = base64.StdEncoding.AppendEncode(dst, []byte(text))
	return append(dst, encodedSuffix...)
}

func plain(s string) bool {
	if s == "" {
		return true
	}
	if s[0] == ' ' || s[len(s)-1] == ' ' || strings.HasPrefix(s, encodedPrefix) && strings.HasSuffix(s, encodedSuffix) {
		return false
	}
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}
