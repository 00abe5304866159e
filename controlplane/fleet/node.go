package fleet

import (
	"container/list"
	"strings"
	"time"
	"unicode/utf8"
	"unique"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/hopgate/hopgate/controlplane/rollout"
	"github.com/hopgate/hopgate/controlplane/view"
	"github.com/hopgate/hopgate/proto/confset"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
	"github.com/hopgate/hopgate/proto/rules"
)

// What is kept of one node at most: verdicts, upstreams, bytes of texts, of words and of the name of a process; upstreams of the whole fleet; and
// broken instances and changed tools of one upstream, and upstreams with such of one node.
const (
	mostVerdicts       = 100
	mostUpstreams      = 1000
	mostText           = 500
	mostWord           = 200
	mostBoot           = 64
	mostFleetUpstreams = 500_000
	mostOpen           = 32
	mostDrifted        = 100
	mostTroubled       = 100
)

// strayedAfter is how long a data plane must have been away to have been elsewhere meanwhile.
const strayedAfter = 3 * rollout.VanishedAfter

// node is one data plane. All of it is guarded by the ledger's mu.
type node struct {
	name    string
	scope   view.Scope
	version string

	term      uint64 // counts its streams
	connected bool
	since     time.Time     // of the stream, or of its end
	gone      *list.Element // in Ledger.gone
	at        position      // by its hello and its acks

	revision int64 // it said last, by any message
	digest   []byte
	applied  time.Time
	draining bool // said last, also after its stream ended
	moved    bool // it was seen on another replica since its stream ended
	inFlight int32
	suspect  bool
	refused  *refusal // of a whole update; nil: none

	boot      string    // of the process that speaks or spoke last
	rebooted  time.Time // when another process spoke for it, without the one before having said that it drains
	suspected time.Time // when suspect became true
	arrived   time.Time // when it was last seen to come to a set
	heard     time.Time // of the last health report on this stream; zero: none
	part      *part     // in the rollout that somebody asks about; nil: not looked at yet

	relay                  bool
	relayed, relayedBehind int32     // data planes of a relay, at its last report
	certificateEnds        time.Time // zero: it came without one
	told                   stance    // that listeners know; only kept while there are some

	verdicts  map[confset.Key]*verdict
	upstreams map[string]upstream
	troubled  int // upstreams with something amiss
}

// refusal is a whole update that wasn't taken.
type refusal struct {
	epoch    string
	revision int64
	text     string
	since    time.Time
}

// verdict is a refusal or warning about one object.
type verdict struct {
	hash        confset.Hash // of the body it is about
	rejected    bool
	field, text string
	since       time.Time
}

// upstream is the last thing a node saw of a server.
type upstream struct {
	ok    bool
	error string
	at    time.Time
	amiss *amiss // nil for nearly all
}

// amiss is what a node holds back of a server, or sees changed: instances with an open breaker, and pinned tools.
type amiss struct{ open, drifted []string }

func amissOf(r *syncv1.UpstreamHealth) *amiss {
	if len(r.GetOpen())+len(r.GetDrifted()) == 0 {
		return nil
	}
	return &amiss{open: words(r.GetOpen(), mostOpen), drifted: words(r.GetDrifted(), mostDrifted)}
}

// words are the first of several texts from outside; nodes tell the same ones.
func words(from []string, most int) []string {
	out := make([]string, min(len(from), most))
	for i := range out {
		out[i] = unique.Make(clip(from[i], mostWord)).Value()
	}
	return out
}

func (n *node) join(j Joined) {
	now := time.Now()
	boot := word(clip(j.Boot, mostBoot))
	if n.boot != "" && boot != "" && n.boot != boot && !n.draining && !n.strayed(now) {
		n.rebooted = now
	}
	if !j.Suspect {
		n.suspect = false
	} else {
		n.suspects()
	}
	if n.scope.Region != j.Scope.Region || n.relay != j.Relay {
		n.part = nil
	}
	n.scope, n.version, n.since, n.boot = j.Scope, clip(j.Version, mostWord), now, boot
	n.scope.Node, n.scope.Relay = j.Node, j.Relay
	n.revision, n.digest = j.Revision, j.Digest
	n.draining, n.moved, n.inFlight, n.heard = false, false, 0, time.Time{}
	n.relay, n.relayed, n.relayedBehind = j.Relay, 0, 0
	n.certificateEnds = j.CertificateEnds
}

// strayed says whether the node was away for so long that it may have been with another replica, and have told that one that it stops. Had it
// vanished, that would have been noticed by now.
func (n *node) strayed(now time.Time) bool {
	return n.moved || !n.connected && now.Sub(n.since) > strayedAfter
}

// suspects notes that the node crashed under a config.
func (n *node) suspects() {
	if !n.suspect {
		n.suspect, n.suspected = true, time.Now()
	}
}

// level is the feature level the node understands, as far as there are any.
func (n *node) level() int32 { return min(max(n.scope.FeatureLevel, 0), rules.MostLevel) }

// say notes what the node serves.
func (n *node) say(revision int64, d confset.Digest) {
	n.revision = revision
	if string(n.digest) != string(d[:]) {
		n.digest = d[:]
	}
}

// inSync says whether it serves what it should: the newest view, and that one has all that is committed up to a revision.
func (n *node) inSync(v *view.View, committed int64) bool {
	if v == nil || !n.connected || n.at.epoch != v.Epoch || v.Revision < committed {
		return false
	}
	want := v.Set.Digest()
	return string(n.digest) == string(want[:])
}

func (n *node) message(v *view.View, committed int64) *adminv1.Node {
	m := &adminv1.Node{
		Node: n.name, Region: n.scope.Region, Group: n.scope.Group, Version: n.version, Connected: n.connected,
		Since: timestamppb.New(n.since), Revision: n.revision, Digest: n.digest, InSync: n.inSync(v, committed),
		Suspect: n.suspect, Draining: n.draining, InFlight: n.inFlight,
		Relay: n.relay, Relayed: n.relayed, RelayedBehind: n.relayedBehind,
		FeatureLevel: n.scope.FeatureLevel,
	}
	if n.refused != nil {
		m.Refused = n.refused.text
	}
	if !n.certificateEnds.IsZero() {
		m.CertificateExpireTime = timestamppb.New(n.certificateEnds)
	}
	if !n.applied.IsZero() {
		m.AppliedTime = timestamppb.New(n.applied)
	}
	for _, key := range sorted(n.verdicts, confset.Key.Compare) {
		d := n.verdicts[key]
		m.Rejected = append(m.Rejected, &adminv1.Rejected{Kind: key.Kind, Name: key.Name, Field: d.field, Text: d.text,
			Rejected: d.rejected, Since: timestamppb.New(d.since)})
	}
	for _, name := range sorted(n.upstreams, strings.Compare) {
		u := n.upstreams[name]
		told := &adminv1.Upstream{Server: name, Ok: u.ok, Error: u.error, Time: timestamppb.New(u.at)}
		if u.amiss != nil {
			told.Open, told.Drifted = u.amiss.open, u.amiss.drifted
		}
		m.Upstreams = append(m.Upstreams, told)
	}
	return m
}

// noteUpstreams takes in a health report, as far as there is room; mu is held.
func (l *Ledger) noteUpstreams(n *node, reports []*syncv1.UpstreamHealth) {
	if n.upstreams == nil && len(reports) > 0 {
		n.upstreams = map[string]upstream{}
	}
	for _, r := range reports {
		name := clip(r.GetServer(), mostWord)
		if _, ok := n.upstreams[name]; !ok {
			if len(n.upstreams) >= mostUpstreams || l.upstreams >= mostFleetUpstreams {
				continue
			}
			l.upstreams++
		}
		u := upstream{ok: r.GetOk(), error: unique.Make(clip(r.GetError(), mostWord)).Value(), at: r.GetTime().AsTime(), amiss: amissOf(r)}
		n.noteAmiss(n.upstreams[name].amiss, &u)
		n.upstreams[unique.Make(name).Value()] = u
	}
}

// noteAmiss counts the upstreams with something amiss, and lets go of what is beyond the bound.
func (n *node) noteAmiss(before *amiss, u *upstream) {
	if before != nil {
		n.troubled--
	}
	switch {
	case u.amiss == nil:
	case n.troubled >= mostTroubled:
		u.amiss = nil
	default:
		n.troubled++
	}
}

// word is a name that came from outside, as it takes the same room wherever it is told.
func word(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || strings.ContainsRune(`"\<>&`, r) {
			return '_'
		}
		return r
	}, s)
}

// clip shortens a text that came from outside to whole characters, and makes it valid UTF-8.
func clip(s string, most int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most] + "…"
}
