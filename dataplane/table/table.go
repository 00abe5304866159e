// Package table is the compiled config a data plane serves from.
//
// It promises that a *Table never changes: a request loads it once and sees one config to its end. Apply makes the next version from what
// changed and shares the rest, so that one changed object costs the same among ten and among 100,000. No object can spoil the others: a
// bad server, settings or sealing ring keeps its last good version; a bad API key, team, toolset, secret or identity provider is gone, and a
// bad ingress trusts nobody (both fail closed). Each comes back as an Outcome that names field and problem without a secret. What a rejected
// object was before lives in memory only: a process that starts on a set whose newest version of a server is bad has no good one to keep.
//
// Overlays for this place are laid over their objects before these are compiled. An overlay that makes its object bad, or that this version
// doesn't understand, counts as a fault of the object, and stands against the overlay as well: no version of the object is taken in without
// its overlays, whichever of them came first.
//
// What callers may use is decided here (Access) from grants, teams and toolsets that were taken apart when they came in: a request does a few
// look-ups. They name each other and are joined only then, so that no change of one makes another be compiled again.
//
// Under which names tools are shown, and which aren't, is one rule for listing and calling: Shape for a server, Toolset for a toolset. Each has
// its inverse, and no two tools of one endpoint have one name.
//
// It refuses to enforce: expiry, limits and rights are read here and enforced by the stages of request/.
package table

import (
	"cmp"
	"iter"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/hopgate/hopgate/proto/confset"
	"github.com/hopgate/hopgate/proto/overlay"
)

// Kinds this version compiles, as in confset.Key.Kind.
const (
	kindServer   = "server"
	kindKey      = "apikey"
	kindSettings = "settings"
	kindRing     = "sealingring"
	kindTeam     = "team"
	kindToolset  = "toolset"
	kindSecret   = "secret"
	kindProvider = "identityprovider"
	kindIngress  = "ingress"
	kindOverlay  = overlay.Kind
)

// Config is what a table needs to know about its process.
type Config struct {
	// Region decides which endpoint of a server is used. Empty: only endpoints without regions.
	Region string
	// Group decides together with Region which overlays apply.
	Group string
	// Static principals come from the process, not from config: the master key, for example. They win over API keys with the same hash.
	Static []*Principal
}

// Version says which desired set a table was made from.
type Version struct {
	Revision int64  // of the store
	Epoch    string // of the store
	Digest   confset.Digest
}

// Table is one immutable version of the compiled config.
type Table struct {
	cfg     Config
	version Version

	settings *Settings
	servers  shards[string, *Server]
	teams    shards[string, *Team]
	toolsets shards[string, *Toolset]
	secrets  shards[string, *Secret]
	rings    map[string]*Ring // by purpose

	groups shards[string, []*Server] // by access group, each in the order of names
	// By a name that they show a tool under which has another one, each in the order of names.
	renamers shards[string, []*Server]

	keys         shards[string, *apiKey] // by name; also those that lost to another
	principals   shards[[32]byte, *Principal]
	certificates shards[string, *Principal] // by name
	claims       map[credential][]string    // names of the keys that want it, in order, where that is more than the one who has it
	lost         map[string]struct{}        // keys that aren't served because another has what they want

	providers map[string]*IdentityProvider // by name; also those that lost to another
	issuers   map[string]*IdentityProvider // by issuer
	believed  []*IdentityProvider          // of issuers, by name
	gateways  map[string]*gateway          // by name
	ingress   *Ingress                     // of this region

	bases    shards[confset.Key, confset.Object] // objects of kinds that overlays change, as they came
	overlays map[confset.Key][]*laid             // those for this place by what they change, in the order of application
	targets  map[string]confset.Key              // what each of these changes, by its name

	notes    shards[confset.Key, []Outcome] // standing outcomes
	rejected int                            // objects in notes that are rejected
}

// New returns the table of the empty config: built-in settings, no server, no caller but the static ones.
func New(cfg Config) *Table {
	t := &Table{
		cfg:          cfg,
		version:      Version{Digest: confset.Empty().Digest()},
		settings:     builtIn(),
		servers:      newShards[string, *Server](placeText),
		groups:       newShards[string, []*Server](placeText),
		renamers:     newShards[string, []*Server](placeText),
		teams:        newShards[string, *Team](placeText),
		toolsets:     newShards[string, *Toolset](placeText),
		secrets:      newShards[string, *Secret](placeText),
		keys:         newShards[string, *apiKey](placeText),
		principals:   newShards[[32]byte, *Principal](placeHash),
		certificates: newShards[string, *Principal](placeText),
		ingress:      noIngress,
		bases:        newShards[confset.Key, confset.Object](placeKey),
		notes:        newShards[confset.Key, []Outcome](placeKey),
	}
	static := t.principals.edit()
	for _, p := range cfg.Static {
		static.set(p.Hash, p)
	}
	t.principals = static.done()
	return t
}

// Version says which desired set the table was made from.
func (t *Table) Version() Version { return t.version }

// Settings returns the fleet-wide settings, built-in values where nothing is set. Never nil.
func (t *Table) Settings() *Settings { return t.settings }

// Server returns the server of that name.
func (t *Table) Server(name string) (*Server, bool) { return t.servers.get(name) }

// Principal returns who holds the key with that SHA-256, or nil. Expiry is the caller's to check.
func (t *Table) Principal(sha256 [32]byte) *Principal {
	p, _ := t.principals.get(sha256)
	return p
}

// Certificate returns who is admitted by a DNS or URI name in a verified client certificate, or nil. Letter case of DNS names doesn't count.
// Expiry is the caller's to check.
func (t *Table) Certificate(name string) *Principal {
	p, _ := t.certificates.get(certificateName(name))
	return p
}

// Secret returns the secret of that name.
func (t *Table) Secret(name string) (*Secret, bool) { return t.secrets.get(name) }

// Team returns the team of that name.
func (t *Table) Team(name string) (*Team, bool) { return t.teams.get(name) }

// Providers returns the issuers whose tokens are believed, in the order of their objects' names. Read only.
func (t *Table) Providers() []*IdentityProvider { return t.believed }

// Provider returns who issues tokens with that iss claim, compared exactly.
func (t *Table) Provider(issuer string) (*IdentityProvider, bool) {
	p, ok := t.issuers[issuer]
	return p, ok
}

// Ingress says how callers reach this region, by the listener main: the ingress that names the region, else the one without regions. Where
// none is configured, it trusts no proxy and its Name is empty; where the object was rejected, it is Closed. Never nil.
func (t *Table) Ingress() *Ingress { return t.ingress }

// Ring returns the sealing keys for a purpose ("session"), or nil.
func (t *Table) Ring(purpose string) *Ring { return t.rings[purpose] }

// Servers returns every server in the order of names. Each loop over it sorts.
func (t *Table) Servers() iter.Seq[*Server] {
	return func(yield func(*Server) bool) {
		all := make([]*Server, 0, t.servers.len)
		for s := range t.servers.values() {
			all = append(all, s)
		}
		slices.SortFunc(all, func(a, b *Server) int { return strings.Compare(a.Name, b.Name) })
		for _, s := range all {
			if !yield(s) {
				return
			}
		}
	}
}

// Len returns how many servers and API keys are served.
func (t *Table) Len() (servers, keys int) {
	return t.servers.len, t.keys.len - len(t.lost)
}

// Outcomes returns what stands against objects of the whole set, ordered by kind and name.
func (t *Table) Outcomes() []Outcome {
	var all []Outcome
	for outs := range t.notes.values() {
		all = append(all, outs...)
	}
	slices.SortStableFunc(all, func(a, b Outcome) int { return a.Key.Compare(b.Key) })
	return all
}

// Rejected returns how many objects of the set are rejected.
func (t *Table) Rejected() int { return t.rejected }

// Holder is the one place where a process keeps its current table. The zero value holds an empty table. Safe for concurrent use.
type Holder struct{ p atomic.Pointer[Table] }

var none = New(Config{})

// Load returns the current table, never nil.
func (h *Holder) Load() *Table { return cmp.Or(h.p.Load(), none) }

// Store makes t the current table.
func (h *Holder) Store(t *Table) { h.p.Store(t) }
