package share

import (
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/controlplane/store"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/rules"
)

// Heads are the objects of the desired config as they are stored.
type Heads interface {
	// Get returns one.
	Get(kind, name string) (store.Head, bool)
	// List returns at most n of a kind with names after the given one, in name order.
	List(kind, after string, n int) []store.Head
	// Revision counts changes.
	Revision() int64
}

// namesEvery is how often the names of API keys are collected anew, when there is a change and one is missed.
const namesEvery = 5 * time.Second

// Allows returns a Config.Allows that reads limits out of config. Those of JWT callers are known only when all identity providers agree,
// since the limit's name doesn't tell which one is meant.
func Allows(heads Heads) func(limit string) (rate float64, concurrency int) {
	a := &allows{heads: heads}
	return func(limit string) (float64, int) {
		l := a.find(limit)
		rate, err := rules.Rate(l.GetRate())
		if err != nil {
			rate = 0
		}
		return rate, int(l.GetConcurrency())
	}
}

type allows struct {
	heads Heads

	mu       sync.Mutex
	keys     map[string]string // name by uid; guarded by mu
	revision int64             // of keys; guarded by mu
	read     time.Time         // when they were read; guarded by mu

	common   *configv1.CallLimits // of all callers; guarded by mu
	commonAt int64                // revision of it, 0: not read yet; guarded by mu
}

// find returns the limits behind a name; nil when there are none.
func (a *allows) find(limit string) *configv1.CallLimits {
	kind, rest, _ := strings.Cut(limit, "/")
	switch kind {
	case "key":
		var k configv1.ApiKey
		a.get("apikey", a.keyName(rest), &k)
		return k.GetSpec().GetLimits()
	case "team":
		var t configv1.Team
		a.get("team", rest, &t)
		return t.GetSpec().GetLimits()
	case "server":
		var s configv1.Server
		a.get("server", rest, &s)
		return s.GetSpec().GetLimits()
	case "tool":
		return a.tool(strings.Cut(rest, "/"))
	case "jwt":
		return a.callers()
	}
	return nil
}

func (a *allows) get(kind, name string, m proto.Message) {
	if h, ok := a.heads.Get(kind, name); ok {
		if proto.Unmarshal(h.Object.Body, m) != nil {
			proto.Reset(m) // what can't be read has no limits
		}
	}
}

func (a *allows) tool(server, tool string, _ bool) *configv1.CallLimits {
	var s configv1.Server
	a.get("server", server, &s)
	for _, t := range s.GetSpec().GetToolLimits() {
		if t.GetTool() == tool {
			return t.GetLimits()
		}
	}
	return nil
}

// callers are the limits that all identity providers agree on. They are read once per change: there may be very many callers.
func (a *allows) callers() *configv1.CallLimits {
	a.mu.Lock()
	defer a.mu.Unlock()
	if revision := a.heads.Revision(); a.commonAt != revision || revision == 0 {
		a.common, a.commonAt = a.agreed(), revision
	}
	return a.common
}

func (a *allows) agreed() (common *configv1.CallLimits) {
	for i, h := range a.heads.List("identityprovider", "", 100) {
		var p configv1.IdentityProvider
		if proto.Unmarshal(h.Object.Body, &p) != nil || i > 0 && !proto.Equal(common, p.GetSpec().GetLimits()) {
			return nil
		}
		common = p.GetSpec().GetLimits()
	}
	return common
}

// keyName is the name of the API key with a uid; empty when it isn't known.
func (a *allows) keyName(uid string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	name, ok := a.keys[uid]
	if ok || time.Since(a.read) < namesEvery || a.revision == a.heads.Revision() {
		return name
	}
	a.read, a.revision, a.keys = time.Now(), a.heads.Revision(), map[string]string{}
	const page = 1000
	for after := ""; ; {
		heads := a.heads.List("apikey", after, page)
		for _, h := range heads {
			a.keys[h.Object.UID], after = h.Object.Key.Name, h.Object.Key.Name
		}
		if len(heads) < page {
			return a.keys[uid]
		}
	}
}
