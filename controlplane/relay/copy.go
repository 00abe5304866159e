package relay

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"

	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/controlplane/secret"
	"github.com/hopgate/hopgate/proto/confset"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
	"github.com/hopgate/hopgate/proto/update"
)

// The copy is sealed with the KEK and bound to the region. Inside: the length of a Shares message (4 bytes, big-endian), that message, and
// the whole set as one Update.

// copyMost bounds the file in bytes: a set of 256 MiB with what surrounds it.
const copyMost = 512 << 20

func (s *Store) aad() []byte { return []byte("hopgate relay copy 1/" + s.cfg.Region) }

// recall reads the copy; nil without one. A copy that is damaged or of another key is set aside.
func (s *Store) recall() (*version, error) {
	blob, err := readMost(s.cfg.File)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil && !errors.Is(err, secret.ErrDamaged) {
		return nil, err
	}
	var v *version
	if err == nil {
		v, err = s.decode(blob)
	}
	if err == nil {
		s.cfg.Log.Info("serving the copy on disk until home answers", "epoch", v.epoch, "revision", v.revision, "objects", v.set.Len())
		return v, nil
	}
	aside := s.cfg.File + ".unusable"
	s.cfg.Log.Error("the copy on disk can't be used and is set aside; nothing is served before home answers", "file", s.cfg.File, "aside", aside, "error", err)
	return nil, os.Rename(s.cfg.File, aside)
}

func readMost(file string) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if info.Size() > copyMost {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are read", secret.ErrDamaged, info.Size(), copyMost)
	}
	return os.ReadFile(file)
}

// decode opens a copy and checks every hash and the digest.
func (s *Store) decode(blob []byte) (*version, error) {
	plain, err := s.cfg.KEK.Open(s.aad(), blob)
	if err != nil {
		return nil, err
	}
	if len(plain) < 4 || uint64(binary.BigEndian.Uint32(plain)) > uint64(len(plain)-4) {
		return nil, secret.ErrDamaged
	}
	n := int(binary.BigEndian.Uint32(plain)) + 4
	shares, whole := &syncv1.Shares{}, &syncv1.Update{}
	if err := errors.Join(proto.Unmarshal(plain[4:n], shares), proto.Unmarshal(plain[n:], whole)); err != nil {
		return nil, fmt.Errorf("%w: %w", secret.ErrDamaged, err)
	}
	c := update.Collector{Most: math.MaxInt}
	u, err := c.Add(whole)
	switch {
	case err != nil:
		return nil, err
	case u == nil:
		return nil, secret.ErrDamaged
	}
	v, err := leadsTo(u, confset.Empty())
	if err == nil {
		s.part = shares.GetDefaultPpm() // before anybody else has the store
	}
	return v, err
}

// keep puts a version on disk: complete or not at all.
func (s *Store) keep(v *version) error {
	blob, err := s.encode(v)
	if err != nil {
		return err
	}
	return replace(s.cfg.File, blob)
}

func (s *Store) encode(v *version) ([]byte, error) {
	digest := v.set.Digest()
	whole := &syncv1.Update{Full: true, Digest: digest[:], Epoch: v.epoch, Revision: v.revision}
	if v.change != "" {
		whole.Changes = []string{v.change}
	}
	for o := range v.set.Unordered() {
		whole.Upserts = append(whole.Upserts, &syncv1.Resource{Kind: o.Key.Kind, Name: o.Key.Name, Uid: o.UID, Hash: o.Hash[:], Body: o.Body})
	}
	s.mu.Lock()
	part := s.part
	s.mu.Unlock()
	head, err := proto.Marshal(&syncv1.Shares{DefaultPpm: part})
	if err != nil {
		return nil, err
	}
	plain := append(binary.BigEndian.AppendUint32(nil, uint32(len(head))), head...)
	if plain, err = (proto.MarshalOptions{}).MarshalAppend(plain, whole); err != nil {
		return nil, err
	}
	return s.cfg.KEK.Seal(s.aad(), plain)
}
