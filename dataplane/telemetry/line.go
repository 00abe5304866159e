package telemetry

import (
	"encoding/hex"
	"net/http"
	"time"
)

// appendHuman appends the access line for people, for example
//
//	INFO: 127.0.0.1:57230 - "POST /everything/mcp HTTP/1.1" 200 OK method=tools/call server=everything tool=echo …
func appendHuman(dst []byte, r *Record) []byte {
	dst = append(dst, "INFO: "...)
	dst = appendInside(dst, r.ClientAddr)
	dst = append(dst, ` - "`...)
	dst = appendInside(dst, r.HTTPMethod)
	dst = append(dst, ' ')
	dst = appendInside(dst, r.Path)
	dst = append(dst, ' ')
	dst = appendInside(dst, r.Proto)
	dst = append(dst, `" `...)
	dst = appendStatus(dst, r.Status)
	dst = pairText(dst, " method=", r.Method)
	dst = pairText(dst, " server=", r.Server)
	dst = pairText(dst, " tool=", r.Tool)
	dst = pairText(dst, " caller=", r.Caller)
	dst = pairText(dst, " end_user=", r.EndUser)
	dst = pairText(dst, " revision=", r.Revision)
	dst = pairText(dst, " session=", r.Session)
	dst = pairText(dst, " outcome=", r.Outcome)
	if f := r.Fault; f != nil {
		dst = append(dst, " fault="...)
		dst = append(dst, f.Hop.String()...)
		dst = append(dst, '/')
		dst = append(dst, f.Phase.String()...)
		dst = append(dst, '/')
		dst = append(dst, f.Kind.String()...)
	}
	if n, failed := r.legs.counts(); failed > 0 {
		dst = append(dst, " legs="...)
		dst = appendInt(dst, int64(n))
		dst = append(dst, " legs_failed="...)
		dst = appendInt(dst, int64(failed))
	}
	p := phasesAt(r, r.End)
	dst = pairTime(dst, " auth=", p.auth)
	dst = pairTime(dst, " route=", p.route)
	dst = pairTime(dst, " credential=", p.credential)
	dst = pairTime(dst, " dns=", p.dns)
	dst = pairTime(dst, " connect=", p.connect)
	dst = pairTime(dst, " tls=", p.tls)
	dst = pairTime(dst, " first_byte=", p.first)
	dst = pairTime(dst, " upstream=", p.upstream)
	dst = pairTime(dst, " total=", p.total)
	dst = append(dst, " trace="...)
	dst = hex.AppendEncode(dst, r.IDs.Trace[:])
	dst = append(dst, " config="...)
	dst = appendInt(dst, r.ConfigRevision)
	dst = append(dst, " time="...)
	dst = appendTime(dst, r.End)
	return append(dst, '\n')
}

// appendStatus appends "200 OK"; 0 is a request whose caller left before anything was sent.
func appendStatus(dst []byte, status int) []byte {
	if status == 0 {
		return append(dst, "0 No answer sent"...)
	}
	dst = appendInt(dst, int64(status))
	if text := http.StatusText(status); text != "" {
		dst = append(dst, ' ')
		dst = append(dst, text...)
	}
	return dst
}

func pairText(dst []byte, key, value string) []byte {
	if value == "" {
		return dst
	}
	return appendValue(append(dst, key...), value)
}

func pairTime(dst []byte, key string, d time.Duration) []byte {
	if d < 0 {
		return dst
	}
	return append(appendMS(append(dst, key...), d), "ms"...)
}

// appendLineJSON appends the access line for machines. Durations are milliseconds; members that don't apply are left out.
func appendLineJSON(dst []byte, r *Record) []byte {
	dst = append(dst, `{"time":"`...)
	dst = appendTime(dst, r.End)
	dst = append(dst, `","level":"INFO","msg":"access"`...)
	dst = memberText(dst, `,"client":`, r.ClientAddr)
	dst = memberText(dst, `,"http_method":`, r.HTTPMethod)
	dst = memberText(dst, `,"path":`, r.Path)
	dst = memberText(dst, `,"proto":`, r.Proto)
	dst = append(dst, `,"status":`...)
	dst = appendInt(dst, int64(r.Status))
	dst = memberText(dst, `,"method":`, r.Method)
	dst = memberText(dst, `,"server":`, r.Server)
	dst = memberText(dst, `,"tool":`, r.Tool)
	dst = memberText(dst, `,"prompt":`, r.Prompt)
	dst = memberText(dst, `,"caller":`, r.Caller)
	dst = memberText(dst, `,"end_user":`, r.EndUser)
	dst = memberText(dst, `,"revision":`, r.Revision)
	dst = memberText(dst, `,"session":`, r.Session)
	dst = memberText(dst, `,"outcome":`, r.Outcome)
	if f := r.Fault; f != nil {
		dst = memberText(dst, `,"hop":`, f.Hop.String())
		dst = memberText(dst, `,"phase":`, f.Phase.String())
		dst = memberText(dst, `,"kind":`, f.Kind.String())
	}
	if n, failed := r.legs.counts(); n > 0 {
		dst = memberInt(dst, `,"legs":`, int64(n))
		dst = append(dst, `,"legs_failed":`...)
		dst = appendInt(dst, int64(failed))
	}
	dst = membersTime(dst, r)
	dst = memberInt(dst, `,"upstream_status":`, int64(r.UpstreamStatus))
	dst = memberInt(dst, `,"attempts":`, int64(r.Attempts))
	dst = memberInt(dst, `,"events":`, int64(r.Events))
	dst = memberInt(dst, `,"bytes_in":`, r.BytesIn)
	dst = memberInt(dst, `,"bytes_out":`, r.BytesOut)
	dst = append(dst, `,"trace_id":"`...)
	dst = hex.AppendEncode(dst, r.IDs.Trace[:])
	dst = append(dst, `","sampled":`...)
	if r.Sampled {
		dst = append(dst, "true"...)
	} else {
		dst = append(dst, "false"...)
	}
	dst = append(dst, `,"config_revision":`...)
	dst = appendInt(dst, r.ConfigRevision)
	return append(dst, "}\n"...)
}

func membersTime(dst []byte, r *Record) []byte {
	p := phasesAt(r, r.End)
	dst = memberTime(dst, `,"auth_ms":`, p.auth)
	dst = memberTime(dst, `,"read_ms":`, p.read)
	dst = memberTime(dst, `,"route_ms":`, p.route)
	dst = memberTime(dst, `,"credential_ms":`, p.credential)
	dst = memberTime(dst, `,"dns_ms":`, p.dns)
	dst = memberTime(dst, `,"connect_ms":`, p.connect)
	dst = memberTime(dst, `,"tls_ms":`, p.tls)
	dst = memberTime(dst, `,"first_byte_ms":`, p.first)
	dst = memberTime(dst, `,"upstream_ms":`, p.upstream)
	return memberTime(dst, `,"total_ms":`, p.total)
}

func memberText(dst []byte, key, value string) []byte {
	if value == "" {
		return dst
	}
	return appendJSON(append(dst, key...), value)
}

func memberTime(dst []byte, key string, d time.Duration) []byte {
	if d < 0 {
		return dst
	}
	return appendMS(append(dst, key...), d)
}

func memberInt(dst []byte, key string, n int64) []byte {
	if n == 0 {
		return dst
	}
	return appendInt(append(dst, key...), n)
}
