package lastgood

import (
	"errors"
	"fmt"
	"slices"

	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/confset"
)

// replay plays a generation's records back. It merges changes before it applies them: a journal of 60,000 changes of one object would
// take seconds one by one.
type replay struct {
	base     []confset.Object
	baseSize int64 // bytes up to its end
	complete bool  // the snapshot is

	good    step
	pending []step // oldest first, each relative to the one before
	part    []record
	suspect *Suspect
	clean   bool
}

// step is merged changes and the version they lead to.
type step struct {
	changes map[confset.Key]*confset.Object // nil: removed
	version table.Version
}

// merge puts a record into s, whose changes must be there.
func (s *step) merge(r record) {
	for _, k := range r.removals {
		s.changes[k] = nil
	}
	for i := range r.upserts {
		s.changes[r.upserts[i].Key] = &r.upserts[i]
	}
	s.version = r.version
}

// follow puts what came after s into it.
func (s *step) follow(next step) {
	if s.changes == nil {
		s.changes = map[confset.Key]*confset.Object{}
	}
	for k, o := range next.changes {
		s.changes[k] = o
	}
	s.version = next.version
}

// over returns the set after the step.
func (s *step) over(set *confset.Set) (*confset.Set, error) {
	d := confset.Delta{Upserts: make([]confset.Object, 0, len(s.changes))}
	for k, o := range s.changes {
		if o == nil {
			d.Removals = append(d.Removals, k)
			continue
		}
		d.Upserts = append(d.Upserts, *o)
	}
	if set.Len() > 0 {
		set = set.Apply(d)
	} else if set, _ = confset.New(d.Upserts); set == nil { // keys of a map: none is there twice
		return nil, errForm
	}
	if set.Digest() != s.version.Digest {
		return nil, fmt.Errorf("revision %d is not what its digest says", s.version.Revision)
	}
	return set, nil
}

// step takes in one record; an error means that the file can't have been written by this program.
func (p *replay) step(r record) error {
	if !p.complete {
		return p.snapshot(r)
	}
	p.clean = r.kind == kindClean
	switch r.kind {
	case kindPart:
		p.part = append(p.part, r)
	case kindDelta:
		p.delta(r)
	case kindGood:
		return p.proven(r.version)
	case kindRollback:
		p.pending = nil
	case kindSuspect:
		if p.suspect = nil; r.version != (table.Version{}) {
			p.suspect = &Suspect{Version: r.version, Tries: r.tries}
		}
	case kindClean, kindBoot:
	default:
		return errForm
	}
	return nil
}

func (p *replay) snapshot(r record) error {
	switch r.kind {
	case kindObjects:
		p.base = append(p.base, r.upserts...)
	case kindBase:
		p.complete, p.good.version = true, r.version
	default:
		return errForm
	}
	return nil
}

func (p *replay) delta(r record) {
	parts, n := append(p.part, r), 0
	for _, part := range parts {
		n += len(part.upserts) + len(part.removals)
	}
	whole := step{changes: make(map[confset.Key]*confset.Object, n)}
	for _, part := range parts {
		whole.merge(part)
	}
	p.part = nil
	if p.suspect != nil && p.suspect.Version.Digest != r.version.Digest {
		p.suspect = nil
	}
	p.pending = append(p.pending, whole)
}

func (p *replay) proven(v table.Version) error {
	at := slices.IndexFunc(p.pending, func(s step) bool { return s.version == v })
	if at < 0 {
		return errors.New("a config is marked good that wasn't pending")
	}
	if p.suspect != nil && p.suspect.Version.Digest == v.Digest {
		p.suspect = nil
	}
	for _, s := range p.pending[:at+1] {
		p.good.follow(s)
	}
	p.pending = p.pending[at+1:]
	return nil
}

// result is what a generation holds.
type result struct {
	good     point
	pending  point // the newest; none when nothing is pending
	suspect  *Suspect
	clean    bool
	baseSize int64 // bytes up to the end of the snapshot
}

// result builds the sets. It fails when the good one isn't what its digest says; what is pending is then dropped with it.
func (p *replay) result() (res result, err error) {
	if !p.complete {
		return res, errors.New("the snapshot is not complete")
	}
	res.suspect, res.clean, res.baseSize = p.suspect, p.clean, p.baseSize
	set, err := confset.New(p.base)
	if err != nil {
		return res, err
	}
	if p.good.version != (table.Version{}) {
		if set, err = p.good.over(set); err != nil {
			return res, err
		}
		res.good = point{set: set, version: p.good.version}
	}
	if len(p.pending) == 0 {
		return res, nil
	}
	var whole step
	for _, s := range p.pending {
		whole.follow(s)
	}
	if set, err = whole.over(set); err != nil {
		return res, err
	}
	res.pending = point{set: set, version: whole.version}
	return res, nil
}
