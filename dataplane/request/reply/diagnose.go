package reply

import (
	"cmp"
	"net/http"
	"strconv"

	"github.com/hopgate/hopgate/dataplane/telemetry"
	"github.com/hopgate/hopgate/proto/fault"
)

// diagnose adds the headers a caller asked for with x-litellm-mcp-debug or x-hopgate-debug. Callers that weren't admitted get the
// admission part only; topology needs the role debug.
func (r *Reply) diagnose(h http.Header) {
	h["X-Mcp-Debug-Inbound-Auth"] = []string{r.InboundAuth}
	if r.Principal == nil {
		return
	}
	h["X-Mcp-Debug-Hops"] = []string{string(telemetry.AppendHops(nil, r.Record))}
	h["Server-Timing"] = []string{string(telemetry.AppendServerTiming(nil, r.Record))}
	if r.Principal.Debug && r.Origin != nil {
		h["X-Mcp-Debug-Origin"] = []string{r.Origin()}
	}
	if r.Server == nil {
		if r.Legs != nil {
			r.diagnoseSeveral(h)
		}
		return
	}
	h["X-Mcp-Debug-Oauth2-Token"] = []string{tokenOf(r.Token, r.Record.Fault)}
	h["X-Mcp-Debug-Auth-Resolution"] = []string{cmp.Or(r.Resolution, "no-auth")}
	h["X-Mcp-Debug-Server-Auth-Type"] = []string{cmp.Or(r.Server.Auth.Type, "none")}
	if r.Server.Target != nil {
		h["X-Mcp-Debug-Outbound-Url"] = []string{r.Server.Target.Masked}
	}
	if r.Principal.Debug {
		h["X-Mcp-Debug-Route"] = []string{r.route()}
	}
}

// tokenOf says what credential is bound to the upstream. A gateway credential that was about to leave has been stopped.
func tokenOf(token string, f *fault.Error) string {
	if f != nil && f.Kind == fault.CredentialLeak {
		return "SAME_AS_LITELLM_KEY - likely misconfigured"
	}
	return cmp.Or(token, "(none)")
}

// route tells where the request went and in which dialect.
func (r *Reply) route() string {
	b := append([]byte("server="), r.Server.Name...)
	b = append(b, "; region="...)
	b = append(b, r.Region...)
	b = append(b, "; transport="...)
	b = append(b, r.Server.Transport...)
	return string(r.appendDialect(b))
}

// appendDialect appends what the caller speaks, and under which config it was served.
func (r *Reply) appendDialect(b []byte) []byte {
	if r.Record.Era != "" {
		b = append(b, "; era="...)
		b = append(b, r.Record.Era...)
	}
	if r.Record.Revision != "" {
		b = append(b, "; revision="...)
		b = append(b, r.Record.Revision...)
	}
	if r.Record.OneShot {
		b = append(b, "; one_shot=true"...)
	}
	b = append(b, "; bridged=false; config_revision="...)
	return strconv.AppendInt(b, r.Record.ConfigRevision, 10)
}
