package process

import (
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// certificateCheck is how often the files are looked at, at most; they are looked at when a handshake asks.
const certificateCheck = 10 * time.Second

// followed is something read from files that is read again when they change. What can't be read leaves the old in use and is logged once.
type followed[T any] struct {
	what  string // for the log
	files []string
	log   *slog.Logger
	load  func() (v *T, attrs []any, err error) // attrs are logged beside

	current atomic.Pointer[T]
	checked atomic.Int64 // when the files were last looked at, unix nanoseconds

	mu   sync.Mutex
	seen []stamp // guarded by mu; files of the last attempt
}

// stamp tells versions of a file apart.
type stamp struct {
	time time.Time
	size int64
}

// first reads what is used to begin with.
func (f *followed[T]) first() error {
	seen, _ := f.stat()
	v, _, err := f.load()
	if err != nil {
		return err
	}
	f.seen = seen
	f.current.Store(v)
	f.checked.Store(time.Now().UnixNano())
	return nil
}

func (f *followed[T]) stat() ([]stamp, error) {
	out := make([]stamp, len(f.files))
	for i, name := range f.files {
		info, err := os.Stat(name)
		if err != nil {
			return nil, err
		}
		out[i] = stamp{info.ModTime(), info.Size()}
	}
	return out, nil
}

func (f *followed[T]) get() *T {
	now, last := time.Now().UnixNano(), f.checked.Load()
	if now-last >= int64(certificateCheck) && f.checked.CompareAndSwap(last, now) {
		f.refresh()
	}
	return f.current.Load()
}

func (f *followed[T]) refresh() {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen, err := f.stat()
	if err == nil && slices.Equal(seen, f.seen) {
		return
	}
	told := err != nil && f.seen == nil // files still missing
	f.seen = seen
	if err == nil {
		var v *T
		var attrs []any
		if v, attrs, err = f.load(); err == nil {
			f.current.Store(v)
			f.log.Info(f.what+" reloaded", append([]any{"file", f.files[0]}, attrs...)...)
			return
		}
	}
	if !told {
		f.log.Error(f.what+" can't be reloaded, the old one stays in use", "error", err)
	}
}
