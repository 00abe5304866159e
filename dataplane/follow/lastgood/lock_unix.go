//go:build unix && !solaris && !aix

package lastgood

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// lock keeps other processes out of the directory until unlock is called or this one ends.
func lock(dir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("state directory %s is in use by another process; give each data plane its own: %w", dir, err)
	}
	return func() { f.Close() }, nil
}
