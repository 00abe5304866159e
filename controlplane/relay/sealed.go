package relay

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/controlplane/secret"
)

// seal keeps a message in a file beside the copy: sealed with the KEK, bound to the region and the name, complete or not at all.
func (s *Store) seal(name string, m proto.Message) error {
	plain, err := proto.Marshal(m)
	if err != nil {
		return err
	}
	blob, err := s.cfg.KEK.Seal(append(s.aad(), "/"+name...), plain)
	if err != nil {
		return err
	}
	return replace(s.cfg.File+"."+name, blob)
}

// unseal reads such a file; found is false without one. One that can't be read is an error: what it says is not to be forgotten by accident.
func (s *Store) unseal(name string, m proto.Message) (found bool, err error) {
	file := s.cfg.File + "." + name
	blob, err := readMost(file)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	var plain []byte
	if err == nil {
		plain, err = s.cfg.KEK.Open(append(s.aad(), "/"+name...), blob)
	}
	if err == nil && proto.Unmarshal(plain, m) != nil {
		err = secret.ErrDamaged
	}
	if err != nil {
		return false, fmt.Errorf("%s: %w; restore it, or remove it if you accept that what it says is forgotten until home says it again", file, err)
	}
	return true, nil
}

// replace writes a file of mode 0600, complete or not at all.
func replace(file string, blob []byte) error {
	dir := filepath.Dir(file)
	f, err := os.CreateTemp(dir, ".relay-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // gone after the rename
	_, err = f.Write(blob)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), file); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
