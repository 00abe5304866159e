package process

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// maxSecret is the largest secret file, in bytes.
const maxSecret = 64 << 10

// SecretFile returns the content of the file at path; when there is none it is made from fresh, with mode 0600 and its directory with
// 0700. Of several processes that start at once one creates it whole and all return its content. created says that this call did.
// A file that others may read or write is refused. Errors never show the content.
func SecretFile(path string, fresh func() ([]byte, error)) (secret []byte, created bool, err error) {
	secret, err = readSecret(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return secret, false, err
	}
	secret, err = fresh()
	if err != nil {
		return nil, false, fmt.Errorf("make a secret for %s: %w", path, err)
	}
	if len(secret) == 0 || len(secret) > maxSecret {
		return nil, false, fmt.Errorf("make a secret for %s: %d bytes; it must have 1 to %d", path, len(secret), maxSecret)
	}
	switch err = createSecret(path, secret); {
	case errors.Is(err, fs.ErrExist): // another process was faster
		secret, err = readSecret(path)
		return secret, false, err
	case err != nil:
		return nil, false, err
	}
	return secret, true, nil
}

func readSecret(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if err := checkSecret(path, info); err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxSecret))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return b, nil
}

func checkSecret(path string, info fs.FileInfo) error {
	switch {
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file", path)
	case info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("%s has mode %04o, so others may read this secret; run: chmod 600 %s", path, info.Mode().Perm(), path)
	case info.Size() == 0:
		return fmt.Errorf("%s is empty; remove it to have a new one made", path)
	case info.Size() > maxSecret:
		return fmt.Errorf("%s has %d bytes, more than a secret (%d)", path, info.Size(), maxSecret)
	}
	return nil
}

// createSecret writes the whole file aside and links it into place, which fails with fs.ErrExist when there is one by now.
func createSecret(path string, secret []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(secret)
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Link(tmp.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes a new name in dir survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
