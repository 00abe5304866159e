package lastgood

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	keyFile = "node.key"
	keySize = 32
)

// nodeKey reads the node's key, or makes one. A key of the wrong size is useless: it is replaced, and what it sealed is lost.
func nodeKey(dir string) (sealer, []string, error) {
	path := filepath.Join(dir, keyFile)
	key, err := os.ReadFile(path)
	switch {
	case err == nil && len(key) == keySize:
		s, err := newSealer(key)
		return s, nil, err
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return sealer{}, nil, fmt.Errorf("node key: %w", err)
	}
	var problems []string
	if err == nil {
		problems = append(problems, fmt.Sprintf("%s has %d bytes instead of %d: a new one was made, config kept so far can't be read", keyFile, len(key), keySize))
	}
	key = make([]byte, keySize)
	rand.Read(key)
	if err := writeKey(path, key); err != nil {
		return sealer{}, nil, fmt.Errorf("node key: %w", err)
	}
	s, err := newSealer(key)
	return s, problems, err
}

// writeKey puts the key in place in one step, so that no half a key is ever there.
func writeKey(path string, key []byte) error {
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(key)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}
