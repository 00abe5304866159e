package lastgood

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hopgate/hopgate/proto/confset"
)

const (
	prefix = "config-"
	suffix = ".gen"
	// mostBytes is the largest generation that is read: the largest set on the wire twice, and its journal.
	mostBytes = 1 << 30
)

func (s *Store) path(generation uint64) string {
	return filepath.Join(s.dir, fmt.Sprintf("%s%016x%s", prefix, generation, suffix))
}

// generations returns the numbers of the generations in the directory, newest first.
func generations(dir string) []uint64 {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var all []uint64
	for _, e := range entries {
		digits, ours := strings.CutPrefix(e.Name(), prefix)
		digits, whole := strings.CutSuffix(digits, suffix)
		if n, err := strconv.ParseUint(digits, 16, 64); ours && whole && err == nil {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	slices.Reverse(all)
	return all
}

// recover loads the newest generation that is whole and applies the crash rule. Nobody else uses the store yet.
func (s *Store) recover(state *State) {
	problem := func(format string, args ...any) {
		state.Problems = append(state.Problems, fmt.Sprintf(format, args...))
	}
	first := s.loadNewest(problem)
	err := error(nil)
	switch {
	case s.file == nil:
		err = s.beginLocked()
	case len(first) > 0:
		err = s.file.append(first)
	}
	if err != nil {
		s.breakLocked(err)
		problem("%v; changes are not kept on disk until that is mended", err)
	}
	state.Set, state.Version = confset.Empty(), s.good.version
	if s.good.set != nil {
		state.Set = s.good.set
	}
	if len(s.pending) > 0 {
		state.Set, state.Version = s.pending[0].set, s.pending[0].version
	}
	state.Suspect = s.Suspect()
}

// loadNewest takes over the newest whole generation. It returns what is to be written into it first, and leaves s.file nil when a new
// generation is to be begun because there was none or only an older one.
func (s *Store) loadNewest(problem func(string, ...any)) (first []record) {
	for _, n := range generations(s.dir) {
		damaged := s.newest > 0
		s.newest = max(s.newest, n)
		res, j, dropped, err := s.load(n)
		if err != nil {
			problem("generation %d is left out: %v", n, err)
			continue
		}
		s.serving = n
		s.good = res.good
		if damaged {
			j.close() // its marks and pending changes are long past
			return nil
		}
		if dropped > 0 {
			problem("generation %d: the last %d bytes of its journal are damaged and left out", n, dropped)
		}
		s.file, s.baseSize = j, res.baseSize
		return s.applyCrashRule(res)
	}
	return nil
}

// applyCrashRule decides what becomes of pending changes: after a clean stop they are pending again, else they are the suspect.
func (s *Store) applyCrashRule(res result) (first []record) {
	s.suspect = res.suspect
	switch {
	case res.pending.set == nil:
		return nil
	case res.clean:
		res.pending.since = time.Now()
		s.pending = []point{res.pending}
		return []record{{kind: kindBoot}}
	}
	tries := 0
	if s.suspect != nil && s.suspect.Version.Digest == res.pending.version.Digest {
		tries = s.suspect.Tries
	}
	s.suspect = &Suspect{Version: res.pending.version, Tries: tries}
	return []record{{kind: kindRollback}, {kind: kindSuspect, version: s.suspect.Version, tries: tries}}
}

// load reads a generation and opens it for appending, behind its last whole record.
func (s *Store) load(n uint64) (res result, j *journal, dropped int64, err error) {
	f, err := os.OpenFile(s.path(n), os.O_RDWR, 0)
	if err != nil {
		return res, nil, 0, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	data, err := readAll(f)
	if err != nil {
		return res, nil, 0, err
	}
	res, end, err := s.sealer.play(data)
	if err != nil {
		return res, nil, 0, err
	}
	j = &journal{f: f, sealer: s.sealer, id: end.id, seq: end.seq, size: int64(end.at)}
	if dropped = int64(len(data) - end.at); dropped > 0 {
		err = f.Truncate(j.size)
	}
	if err == nil {
		_, err = f.Seek(j.size, io.SeekStart)
	}
	return res, j, dropped, err
}

// readAll reads a whole file, mostBytes at most, into one piece of memory.
func readAll(f *os.File) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	data := make([]byte, min(info.Size(), mostBytes))
	n, err := io.ReadFull(f, data)
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		err = nil // it became shorter
	}
	return data[:n], err
}

// play reads the content of a generation file. The returned scan stands where the file may be continued: behind the last record that is
// whole and doesn't wait for another part.
func (s sealer) play(data []byte) (res result, end scan, err error) {
	sc, err := newScan(s, data)
	if err != nil {
		return res, end, err
	}
	var p replay
	for {
		r, ok, err := sc.next()
		if errors.Is(err, errTorn) || err == nil && !ok {
			break
		}
		if err == nil {
			err = p.step(r)
		}
		if err != nil {
			return res, end, err
		}
		if r.kind == kindBase {
			p.baseSize = int64(sc.at)
		}
		if r.kind != kindPart {
			end = *sc
		}
	}
	res, err = p.result()
	return res, end, err
}
