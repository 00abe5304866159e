package process_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/hopgate/hopgate/cmd/internal/process"
)

func TestSecretIsMadeOnceAndPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "master.key")
	made := func() ([]byte, error) { return []byte("sk-1"), nil }
	got, created, err := process.SecretFile(path, made)
	if err != nil || !created || string(got) != "sk-1" {
		t.Fatal(string(got), created, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatal(info.Mode(), err)
	}
	got, created, err = process.SecretFile(path, func() ([]byte, error) { return nil, errors.New("asked again") })
	if err != nil || created || string(got) != "sk-1" {
		t.Fatal(string(got), created, err)
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("files left behind: %v", left)
	}
}

func TestConcurrentStartsAgreeOnOneSecret(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	results := make([][]byte, 16)
	var creators sync.Map
	var starts sync.WaitGroup
	for i := range results {
		starts.Go(func() {
			got, created, err := process.SecretFile(path, func() ([]byte, error) {
				b := make([]byte, 32)
				_, err := rand.Read(b)
				return b, err
			})
			if err != nil {
				t.Error(err)
			}
			if created {
				creators.Store(i, true)
			}
			results[i] = got
		})
	}
	starts.Wait()
	n := 0
	creators.Range(func(any, any) bool { n++; return true })
	for _, r := range results {
		if !bytes.Equal(r, results[0]) || len(r) != 32 {
			t.Error("different secrets")
		}
	}
	if n != 1 {
		t.Errorf("%d creators", n)
	}
}

func TestBadSecretFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, mode os.FileMode, size int) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, bytes.Repeat([]byte("s"), size), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	tests := []struct{ name, path, want string }{
		{"others may read", write("open", 0o644, 9), "chmod 600"},
		{"empty", write("empty", 0o600, 0), "is empty"},
		{"huge", write("huge", 0o600, 70<<10), "more than a secret"},
		{"directory", dir, "not a regular file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := process.SecretFile(tt.path, func() ([]byte, error) { return []byte("x"), nil })
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "sss") {
				t.Error(err)
			}
		})
	}
}

func TestSecretThatCannotBeMade(t *testing.T) {
	boom := errors.New("no randomness")
	path := filepath.Join(t.TempDir(), "key")
	if _, _, err := process.SecretFile(path, func() ([]byte, error) { return nil, boom }); !errors.Is(err, boom) {
		t.Error(err)
	}
	if _, _, err := process.SecretFile(path, func() ([]byte, error) { return nil, nil }); err == nil {
		t.Error("an empty secret was taken")
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
