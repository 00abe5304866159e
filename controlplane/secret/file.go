package secret

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// fileLimit is more than a key file can hold.
const fileLimit = 4096

// LoadKEK reads the key-encryption key from a file: 32 bytes as 64 hexadecimal digits, readable by its owner only. A missing file is an error
// unless create is set: then a new key is written to it (0600, synced, complete or not at all), also when several processes start at once.
func LoadKEK(file string, create bool) (*KEK, error) {
	key, err := readKey(file)
	if errors.Is(err, fs.ErrNotExist) {
		if !create {
			return nil, fmt.Errorf("kek: %s doesn't exist: put back the key file in use when the store was filled; without it nothing sealed in the store can be read", file)
		}
		if err := createKey(file); err != nil {
			return nil, fmt.Errorf("kek: create %s: %w", file, err)
		}
		key, err = readKey(file)
	}
	if err != nil {
		return nil, fmt.Errorf("kek: %w", err)
	}
	return newKEK(file, key)
}

func readKey(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	switch mode := info.Mode(); {
	case !mode.IsRegular():
		return nil, fmt.Errorf("%s is not a regular file; name the key file", file)
	case mode.Perm()&0o077 != 0:
		return nil, fmt.Errorf("%s is open to its group or to others (mode %04o): run chmod 600 %s, and replace the key if anybody may have read it", file, mode.Perm(), file)
	case info.Size() > fileLimit:
		return nil, fmt.Errorf("%s has %d bytes; a key file holds %d hexadecimal digits", file, info.Size(), 2*keyBytes)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	text = bytes.TrimSpace(text)
	key := make([]byte, hex.DecodedLen(len(text)))
	if _, err := hex.Decode(key, text); err != nil || len(key) != keyBytes {
		return nil, fmt.Errorf("%s doesn't hold %d hexadecimal digits; put the right key file back", file, 2*keyBytes)
	}
	return key, nil
}

// createKey writes a new key beside the file and links it into place: whoever comes second finds the first one's.
func createKey(file string) error {
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".kek-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	key := make([]byte, keyBytes)
	_, _ = rand.Read(key) // never fails
	_, err = fmt.Fprintf(f, "%x\n", key)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), file); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
