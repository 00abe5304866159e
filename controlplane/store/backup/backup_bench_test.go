package backup_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/controlplane/store/backup"
	"github.com/hopgate/hopgate/controlplane/store/storetest"
)

// BenchmarkBackup takes, checks and restores 102,000 objects with bodies of about 300 bytes, each written once.
func BenchmarkBackup(b *testing.B) {
	kek := newKEK(b)
	s := lived(b, kek)
	pad := strings.Repeat("x", 290)
	for i := range 102 {
		heads := make([]store.Head, 1000)
		for j := range heads {
			heads[j] = storetest.Head("apikey", fmt.Sprintf("key-%03d-%04d", i, j), fmt.Sprint(pad, i, "-", j))
		}
		commit(b, s, storetest.Put(heads...))
	}
	var file bytes.Buffer
	var take, check, fill time.Duration
	for b.Loop() {
		file.Reset()
		at := time.Now()
		lap := func(d *time.Duration) { *d += time.Since(at); at = time.Now() }
		if _, err := backup.Take(b.Context(), s, &file, "dev"); err != nil {
			b.Fatal(err)
		}
		lap(&take)
		c, err := backup.Check(bytes.NewReader(file.Bytes()), kek)
		if err != nil || c.Header.Objects != 102_003 {
			b.Fatal(c, err)
		}
		lap(&check)
		if _, err := backup.Restore(b.Context(), s, io.Reader(bytes.NewReader(file.Bytes())), c, true); err != nil {
			b.Fatal(err)
		}
		lap(&fill)
		if _, err := s.Load(b.Context()); err != nil { // the new epoch
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(file.Len())/1e6, "MB")
	for name, d := range map[string]time.Duration{"take-s": take, "check-s": check, "restore-s": fill} {
		b.ReportMetric(d.Seconds()/float64(b.N), name)
	}
}
