package backup_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/controlplane/store/backup"
)

func TestFileCutOffAnywhereIsRefused(t *testing.T) {
	kek := newKEK(t)
	file := taken(t, lived(t, kek))
	for n := range len(file) {
		if _, err := backup.Check(bytes.NewReader(file[:n]), kek); !errors.Is(err, backup.ErrDamaged) && !errors.Is(err, backup.ErrFormat) {
			t.Fatalf("cut off after %d of %d bytes: %v", n, len(file), err)
		}
	}
	if _, err := backup.Check(bytes.NewReader(append(bytes.Clone(file), '\n')), kek); !errors.Is(err, backup.ErrDamaged) {
		t.Errorf("with a byte more: %v", err)
	}
}

func TestFlippedBitAnywhereIsRefused(t *testing.T) {
	kek := newKEK(t)
	file := taken(t, lived(t, kek))
	for n := range file { // another bit in each byte
		file[n] ^= 1 << (n % 8)
		if _, err := backup.Check(bytes.NewReader(file), kek); !errors.Is(err, backup.ErrDamaged) && !errors.Is(err, backup.ErrFormat) {
			t.Fatalf("bit %d of byte %d: %v", n%8, n, err)
		}
		file[n] ^= 1 << (n % 8)
	}
	if _, err := backup.Check(bytes.NewReader(file), kek); err != nil {
		t.Errorf("as it was: %v", err)
	}
}

func TestWhatIsWrongWithAFileIsSaid(t *testing.T) {
	for want, file := range map[string]string{
		"ends here":           "hopgate sto",
		"doesn't begin":       "PK\x03\x04 something else",
		"has format 2":        "hopgate store snapshot 2\n{}\n",
		"lacks epoch":         "hopgate store snapshot 1\n{}\n",
		"can't be printed":    "hopgate store snapshot 1\n" + strings.Replace(header, "dev", `\u001b[2J`, 1) + "\x00\x00",
		"header is no JSON":   "hopgate store snapshot 1\n{\n",
		"a line is too long":  "hopgate store snapshot 1\n" + strings.Repeat(" ", 1<<17),
		"a record is too":     "hopgate store snapshot 1\n" + header + "\xff\xff\xff\xff\x0f",
		"a length is no":      "hopgate store snapshot 1\n" + header + strings.Repeat("\xff", 12),
		"a key that no snaps": "hopgate store snapshot 1\n" + header + "\x0ameta/epoch\x00",
		"aren't in order":     "hopgate store snapshot 1\n" + header + "\x02zz\x00\x02aa\x00",
	} {
		if _, err := backup.Check(strings.NewReader(file), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

const header = `{"program":"dev","epoch":"e","revision":1,"time":"2026-01-01T00:00:00Z","objects":0,"keks":[]}` + "\n"

// FuzzRead reads anything: it ends, with an error or with a file of which every record was read.
func FuzzRead(f *testing.F) {
	whole := taken(f, lived(f, newKEK(f)))
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add([]byte("hopgate store snapshot 1\n" + header + "\x00\x00"))
	f.Fuzz(func(t *testing.T, file []byte) {
		r, err := backup.NewReader(bytes.NewReader(file))
		if err != nil {
			return
		}
		bytes := 0
		for {
			rec, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				if _, again := r.Next(); again == nil || again.Error() != err.Error() {
					t.Fatalf("after %v: %v", err, again)
				}
				break
			}
			if bytes += len(rec.Key) + len(rec.Value); bytes > len(file) {
				t.Fatalf("%d bytes of records in a file of %d", bytes, len(file))
			}
		}
		if c, err := backup.Check(strings.NewReader(string(file)), nil); err == nil && c.Header.Objects < 0 {
			t.Fatalf("%+v", c)
		}
	})
}
