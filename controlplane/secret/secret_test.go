package secret_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/hopgate/hopgate/controlplane/secret"
	"github.com/hopgate/hopgate/proto/confset"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newKEK(t *testing.T) *secret.KEK {
	t.Helper()
	kek, err := secret.LoadKEK(filepath.Join(t.TempDir(), "kek"), true)
	if err != nil {
		t.Fatal(err)
	}
	return kek
}

func TestSealedOpensForItsObjectOnly(t *testing.T) {
	kek := newKEK(t)
	key := confset.Key{Kind: "sealingring", Name: "session"}
	aad, plain := secret.AAD(key, "uid"), []byte("the plaintext")
	one, err := kek.Seal(aad, plain)
	if err != nil {
		t.Fatal(err)
	}
	two, _ := kek.Seal(aad, plain)
	if bytes.Equal(one[9:], two[9:]) || bytes.Contains(one, plain) {
		t.Fatal("sealing isn't fresh, or shows the plaintext")
	}
	if got, err := kek.Open(aad, one); err != nil || !bytes.Equal(got, plain) {
		t.Fatalf("open: %q %v", got, err)
	}
	for name, other := range map[string][]byte{
		"uid": secret.AAD(key, "uid2"), "name": secret.AAD(confset.Key{Kind: "sealingring", Name: "oauth"}, "uid"), "none": nil,
	} {
		if _, err := kek.Open(other, one); !errors.Is(err, secret.ErrDamaged) {
			t.Errorf("another %s: %v", name, err)
		}
	}
	if empty, _ := kek.Seal(aad, nil); len(empty) != 97 {
		t.Errorf("empty plaintext seals to %d bytes, the format says 97", len(empty))
	}
}

func TestChangedBytesNeverOpen(t *testing.T) {
	kek := newKEK(t)
	blob, _ := kek.Seal([]byte("a"), []byte("plaintext"))
	for i := range blob {
		if _, err := kek.Open([]byte("a"), blob[:i]); !errors.Is(err, secret.ErrDamaged) {
			t.Fatalf("cut at %d: %v", i, err)
		}
		changed := bytes.Clone(blob)
		changed[i] ^= 1
		if _, err := kek.Open([]byte("a"), changed); !errors.Is(err, secret.ErrDamaged) && !errors.Is(err, secret.ErrWrongKey) {
			t.Fatalf("byte %d: %v", i, err)
		}
	}
}

func TestWrongKeyNamesTheFileAndNoKey(t *testing.T) {
	file := filepath.Join(t.TempDir(), "other-kek")
	other, err := secret.LoadKEK(file, true)
	if err != nil {
		t.Fatal(err)
	}
	blob, _ := newKEK(t).Seal(nil, []byte("plaintext"))
	_, err = other.Open(nil, blob)
	if !errors.Is(err, secret.ErrWrongKey) || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), "put the key file back") {
		t.Fatalf("got %v", err)
	}
	text, _ := os.ReadFile(file)
	for _, shown := range []string{err.Error(), fmt.Sprintf("%v %+v %#v %s", other, other, other, other)} {
		if strings.Contains(shown, strings.TrimSpace(string(text))) {
			t.Fatalf("shows the key: %s", shown)
		}
	}
}

func TestKeyFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		return file
	}
	digits := strings.Repeat("0f", 32)
	for name, tc := range map[string]struct{ file, want string }{
		"missing":        {filepath.Join(dir, "none"), "doesn't exist: put back"},
		"group readable": {write("group", digits, 0o640), "run chmod 600"},
		"world readable": {write("world", digits, 0o604), "run chmod 600"},
		"too short":      {write("short", digits[2:], 0o600), "64 hexadecimal digits"},
		"not hex":        {write("text", strings.Repeat("x", 64), 0o600), "64 hexadecimal digits"},
		"too long":       {write("long", strings.Repeat("0", 5000), 0o600), "5000 bytes"},
		"a directory":    {dir, "not a regular file"},
	} {
		_, err := secret.LoadKEK(tc.file, false)
		if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), tc.file) {
			t.Errorf("%s: %v, want %q and the file", name, err, tc.want)
		}
	}
	if _, err := secret.LoadKEK(write("good", digits+"\n", 0o400), false); err != nil {
		t.Errorf("good file: %v", err)
	}
}

func TestKeyIsCreatedOnceByManyProcesses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "new", "kek")
	ids := make([]string, 8)
	var group sync.WaitGroup
	for i := range ids {
		group.Go(func() {
			kek, err := secret.LoadKEK(file, true)
			if err != nil {
				t.Errorf("load: %v", err)
				return
			}
			ids[i] = kek.String()
		})
	}
	group.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Fatalf("two keys: %s and %s", id, ids[0])
		}
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v %v", info, err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(file), ".kek-*")); len(left) != 0 {
		t.Fatalf("left behind: %v", left)
	}
}
