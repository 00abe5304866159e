package telemetry

import "encoding/hex"

// maxTracestate is how much of a tracestate is passed on, in bytes (W3C Trace Context, section 3.3.1.5: at least 512).
const maxTracestate = 512

// traceparentLen is the length of a version 00 traceparent.
const traceparentLen = 55

// AppendTraceparent appends the W3C traceparent that goes upstream: the trace, with the Call span as parent.
func AppendTraceparent(dst []byte, ids *IDs, sampled bool) []byte {
	dst = append(dst, "00-"...)
	dst = hex.AppendEncode(dst, ids.Trace[:])
	dst = append(dst, '-')
	dst = hex.AppendEncode(dst, ids.Call[:])
	if sampled {
		return append(dst, "-01"...)
	}
	return append(dst, "-00"...)
}

// ParseTraceparent reads a W3C traceparent. Versions above 00 are read by their first four fields, as the recommendation asks; version
// ff, upper-case hex and all-zero ids are refused.
func ParseTraceparent(s string) (traceID [16]byte, span [8]byte, sampled, ok bool) {
	var version, flags [1]byte
	if len(s) < traceparentLen || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return [16]byte{}, [8]byte{}, false, false
	}
	ok = lowerHex(version[:], s[:2]) && lowerHex(traceID[:], s[3:35]) && lowerHex(span[:], s[36:52]) && lowerHex(flags[:], s[53:55])
	switch {
	case !ok, version[0] == 0xff, traceID == [16]byte{}, span == [8]byte{},
		version[0] == 0 && len(s) != traceparentLen,
		len(s) > traceparentLen && s[traceparentLen] != '-':
		return [16]byte{}, [8]byte{}, false, false
	}
	return traceID, span, flags[0]&1 != 0, true
}

func lowerHex(dst []byte, s string) bool {
	for i := range dst {
		hi, lo := nibble(s[2*i]), nibble(s[2*i+1])
		if hi > 15 || lo > 15 {
			return false
		}
		dst[i] = hi<<4 | lo
	}
	return true
}

func nibble(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	}
	return 0xff
}

// Adopt settles how the caller's trace context relates to ours; call it after Begin and before anything goes upstream. meta is the
// traceparent of params._meta, header the HTTP one, tracestate the one that came beside meta if meta is not empty, else beside header.
//
// Trusted: meta is the parent and header a link; header alone is the parent; the parent's sampling decision is ours. Untrusted: whichever
// there is becomes a link, and neither parent nor sampling changes. Malformed values are as if absent.
func (t *Telemetry) Adopt(r *Record, meta, header, tracestate string, trusted bool) {
	if meta == "" && header == "" {
		return
	}
	m, h := parseRemote(meta), parseRemote(header)
	if !trusted {
		if m.ok {
			h = m
		}
		h.linkTo(r)
		return
	}
	parent, other := m, h
	if !m.ok {
		parent, other = h, remote{}
	}
	if !parent.ok {
		return
	}
	r.IDs.Trace, r.Parent, r.Sampled = parent.trace, parent.span, parent.sampled
	if (m.ok || meta == "") && goodState(tracestate) {
		r.State = tracestate
	}
	if other.span != parent.span || other.trace != parent.trace {
		other.linkTo(r)
	}
	t.live.retrace(r)
}

// remote is a caller's trace context.
type remote struct {
	trace       [16]byte
	span        [8]byte
	sampled, ok bool
}

func parseRemote(s string) (c remote) {
	if s != "" {
		c.trace, c.span, c.sampled, c.ok = ParseTraceparent(s)
	}
	return c
}

func (c remote) linkTo(r *Record) {
	if c.ok {
		r.Link.Trace, r.Link.Call = c.trace, c.span
	}
}

func goodState(s string) bool {
	if s == "" || len(s) > maxTracestate {
		return false
	}
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}
