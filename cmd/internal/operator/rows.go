package operator

import (
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// Heads of the tables.
const (
	ServerHead   = "NAME\tURL\tPROTOCOL\tAUTH\tAPPLIED\tREJECTED\tPENDING"
	ApiKeyHead   = "NAME\tUSER\tOPENS\tTEAM\tLIMITS\tROLES\tEXPIRES"
	TeamHead     = "NAME\tOPENS\tLIMITS\tAPPLIED\tREJECTED\tPENDING"
	ToolsetHead  = "NAME\tTOOLS\tAPPLIED\tREJECTED\tPENDING"
	IngressHead  = "NAME\tREGIONS\tPUBLIC ORIGINS\tTRUSTED PROXIES\tFORWARDED HEADERS\tAPPLIED\tREJECTED\tPENDING"
	ProviderHead = "NAME\tISSUER\tAUDIENCES\tGRANTS\tAPPLIED\tREJECTED\tPENDING"
	SecretHead   = "NAME\tGENERATION\tCHANGED\tAPPLIED\tREJECTED\tPENDING"
	SettingsHead = "NAME\tGENERATION\tCHANGED"
	OverlayHead  = "NAME\tTARGET\tREGION\tGROUP\tCLEARS\tSETS\tAPPLIED\tREJECTED\tPENDING"
	ChangeHead   = "ID\tTIME\tAUTHOR\tOBJECTS\tMESSAGE"
	NodeHead     = "NODE\tREGION\tSTATE\tVERSION\tREVISION\tAGE\tREJECTED\tUPSTREAMS"
)

func row(m proto.Message) string {
	switch m := m.(type) {
	case *configv1.Server:
		s := m.GetSpec()
		urls := make([]string, len(s.GetEndpoints()))
		for i, e := range s.GetEndpoints() {
			urls[i] = e.GetUrl()
		}
		return cells(append([]any{m.GetName(), strings.Join(urls, " "), or(s.GetProtocol(), "auto"), or(s.GetAuth().GetType(), "none")}, fleet(m.GetStatus())...)...)
	case *configv1.ApiKey:
		s := m.GetSpec()
		return cells(m.GetName(), or(s.GetUser(), "-"), opens(s), or(s.GetTeam(), "-"), limits(s.GetLimits()), list(s.GetRoles(), "-"), or(s.GetExpires(), "never"))
	case *configv1.Settings:
		return cells(m.GetName(), m.GetMeta().GetGeneration(), clock(m.GetMeta().GetUpdateTime()))
	case *configv1.Overlay:
		return overlayRow(m)
	case *adminv1.Change:
		return cells(m.GetId(), clock(m.GetTime()), m.GetAuthor(), len(m.GetObjects()), m.GetMessage())
	case *adminv1.Node:
		return cells(m.GetNode(), m.GetRegion(), nodeState(m), m.GetVersion(), m.GetRevision(), age(m.GetAppliedTime()), len(m.GetRejected()), upstreams(m))
	}
	return trustRow(m)
}

// trustRow is the row of an object that says who may do what from where.
func trustRow(m proto.Message) string {
	switch m := m.(type) {
	case *configv1.Team:
		return cells(append([]any{m.GetName(), opens(m.GetSpec()), limits(m.GetSpec().GetLimits())}, fleet(m.GetStatus())...)...)
	case *configv1.Toolset:
		return cells(append([]any{m.GetName(), tools(m.GetSpec().GetTools())}, fleet(m.GetStatus())...)...)
	case *configv1.Ingress:
		s := m.GetSpec()
		return cells(append([]any{m.GetName(), list(s.GetRegions(), "(others)"), list(s.GetPublicOrigins(), "-"), list(s.GetTrustedProxies(), "(none)"), forwarded(s)},
			fleet(m.GetStatus())...)...)
	case *configv1.IdentityProvider:
		s := m.GetSpec()
		return cells(append([]any{m.GetName(), s.GetIssuer(), list(s.GetAudiences(), "(none)"), len(s.GetGrants())}, fleet(m.GetStatus())...)...)
	case *configv1.Secret:
		return cells(append([]any{m.GetName(), m.GetMeta().GetGeneration(), clock(m.GetMeta().GetUpdateTime())}, fleet(m.GetStatus())...)...)
	}
	return fmt.Sprint(m)
}

// fleet is what data planes made of an object.
func fleet(st *configv1.ObjectStatus) []any {
	applied := strconv.Itoa(int(st.GetApplied() + st.GetWarned()))
	if st.GetWarned() > 0 { // served all the same; get -o yaml says what about
		applied += fmt.Sprintf(" (%d warned)", st.GetWarned())
	}
	return []any{applied, st.GetRejected(), st.GetPending()}
}

func list(words []string, none string) string { return or(strings.Join(words, ","), none) }

// opens says what a grant opens: servers by name, groups and toolsets with their sort in front. narrowed: it has rules for tools.
func opens(g interface {
	GetServers() []string
	GetGroups() []string
	GetToolsets() []string
	GetTools() []*configv1.ToolRule
},
) string {
	words := append([]string(nil), g.GetServers()...)
	for _, n := range g.GetGroups() {
		words = append(words, "group:"+n)
	}
	for _, n := range g.GetToolsets() {
		words = append(words, "toolset:"+n)
	}
	if len(words) == 0 {
		return "(none)"
	}
	if len(g.GetTools()) > 0 {
		return strings.Join(words, ",") + " (narrowed)"
	}
	return strings.Join(words, ",")
}

func limits(l *configv1.CallLimits) string {
	var words []string
	if l.GetRate() != "" {
		words = append(words, l.GetRate())
	}
	if n := l.GetConcurrency(); n > 0 {
		words = append(words, fmt.Sprintf("%d at once", n))
	}
	return or(strings.Join(words, ", "), "-")
}

// mostTools of a toolset are shown.
const mostTools = 5

func tools(of []*configv1.ToolsetTool) string {
	var words []string
	for i, t := range of {
		if i == mostTools {
			words = append(words, fmt.Sprintf("and %d more", len(of)-i))
			break
		}
		words = append(words, t.GetServer()+"/"+t.GetTool())
	}
	return list(words, "(none)")
}

func forwarded(s *configv1.IngressSpec) string {
	switch {
	case !s.GetUseForwardedHeaders():
		return "no"
	case len(s.GetTrustedProxies()) == 0:
		return "no: no proxy is trusted"
	}
	return list(s.GetForwardedHeaders(), "x-forwarded-*")
}
