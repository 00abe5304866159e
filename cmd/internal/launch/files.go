package launch

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/cmd/internal/operator"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/rules"
)

// lookEvery is how often owned files are looked at for changes.
const lookEvery = 500 * time.Millisecond

// sets are files whose objects belong to them: applied at start and on change, read-only by API.
type sets struct {
	files []string
	admin *operator.Client
	log   *slog.Logger
	seen  map[string]string // by file: its stamp when it was last applied
	told  map[string]string // by file: the last complaint
}

func fileSets(files []string, admin *operator.Client, log *slog.Logger) *sets {
	return &sets{files: files, admin: admin, log: log, seen: map[string]string{}, told: map[string]string{}}
}

// apply brings every file in force and returns the last revision; the first file that can't be is an error.
func (s *sets) apply(ctx context.Context) (int64, error) {
	var revision int64
	for _, f := range s.files {
		at := look(f)
		change, err := s.one(ctx, f)
		if err != nil {
			return 0, fmt.Errorf("-f %s: %w", f, err)
		}
		s.seen[f], revision = at, max(revision, change.GetRevision())
	}
	return revision, s.orphans(ctx)
}

// watch applies files that change until ctx ends. A file that is gone or can't be applied leaves what was in force, says so once, and is
// tried again.
func (s *sets) watch(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for _, f := range s.files {
			if err := s.renew(ctx, f); err != nil && ctx.Err() == nil && s.told[f] != err.Error() {
				s.told[f] = err.Error()
				s.log.Error("a changed config file can't be applied; what was in force stays", "file", f, "error", err)
			}
		}
	}
}

// renew applies a file if it isn't what was last applied.
func (s *sets) renew(ctx context.Context, f string) error {
	now := look(f)
	if now == s.seen[f] {
		return nil
	}
	change, err := s.one(ctx, f)
	if err != nil {
		return err
	}
	s.seen[f] = now
	delete(s.told, f)
	s.log.Info("applied a changed config file", "file", f, "change", change.GetId(), "revision", change.GetRevision())
	return nil
}

// look tells versions of a file, or of all files in a directory, apart without reading them.
func look(f string) string {
	files, err := operator.Files([]string{f})
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	for _, f := range files {
		if i, err := os.Stat(f); err == nil {
			fmt.Fprintf(&b, "%s %d %d\n", f, i.ModTime().UnixNano(), i.Size())
		}
	}
	return b.String()
}

// one applies a file as one change in its name and removes the objects it no longer holds.
func (s *sets) one(ctx context.Context, file string) (*adminv1.Change, error) {
	docs, err := operator.Documents([]string{file}, nil, os.LookupEnv)
	if err != nil {
		return nil, err
	}
	owner, err := filepath.Abs(file)
	if err != nil {
		return nil, err
	}
	gone, err := s.gone(ctx, owner, docs)
	if err != nil {
		return nil, err
	}
	a := operator.Apply{Documents: docs, Deletions: gone, Owner: owner, Message: "from " + filepath.Base(file)}
	return a.Run(ctx, s.admin, io.Discard)
}

// orphans says which objects belong to files that aren't given any more: nobody can change them until they are, or until they are deleted in
// that file's name.
func (s *sets) orphans(ctx context.Context) error {
	given := map[string]bool{"": true}
	for _, f := range s.files {
		owner, err := filepath.Abs(f)
		if err != nil {
			return err
		}
		given[owner] = true
	}
	return s.each(ctx, func(kind, name, owner string) {
		if !given[owner] {
			s.log.Warn("an object belongs to a file that isn't given with -f any more: it is read-only; give the file, or run hopgate delete with --owner",
				"object", kind+"/"+name, "owner", owner)
		}
	})
}

// gone are the stored objects that belong to owner and aren't in docs.
func (s *sets) gone(ctx context.Context, owner string, docs []rules.Document) ([]*adminv1.ObjectName, error) {
	kept := map[string]bool{}
	for _, d := range docs {
		kept[d.Kind+"/"+d.Name] = true
	}
	var out []*adminv1.ObjectName
	err := s.each(ctx, func(kind, name, by string) {
		if by == owner && !kept[kind+"/"+name] {
			out = append(out, &adminv1.ObjectName{Kind: kind, Name: name})
		}
	})
	return out, err
}

// each calls f with every stored object and its owner.
func (s *sets) each(ctx context.Context, f func(kind, name, owner string)) error {
	for _, kind := range rules.Kinds() {
		_, rows, err := operator.Get(ctx, s.admin, kind, "")
		if err != nil {
			return err
		}
		for _, m := range rows {
			name, owner := owned(m)
			f(kind, name, owner)
		}
	}
	return nil
}

func owned(m proto.Message) (name, owner string) {
	type object interface {
		GetName() string
		GetMeta() *configv1.ObjectMeta
	}
	if o, ok := m.(object); ok {
		return o.GetName(), o.GetMeta().GetOwner()
	}
	return "", ""
}
