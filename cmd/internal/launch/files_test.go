package launch_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/cmd/internal/launch"
	"github.com/hopgate/hopgate/cmd/internal/operator"
	"github.com/hopgate/hopgate/dataplane/mcptest"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

func server(name, url string) string {
	return fmt.Sprintf("kind: Server\nname: %s\nspec:\n  endpoints: [{url: %q}]\n---\n", name, url)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	aside := path + ".new"
	if err := os.WriteFile(aside, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(aside, path); err != nil {
		t.Fatal(err)
	}
}

func TestAFileIsInForceFromTheStart(t *testing.T) {
	upstream := mcptest.Start(t, mcptest.Stateless())
	file := filepath.Join(t.TempDir(), "servers.yaml")
	write(t, file, server("one", upstream.URL)+server("two", upstream.URL))
	s := up(t, launch.Up{Files: []string{file}})
	for _, name := range []string{"one", "two"} {
		if status, fault, _ := tools(t, s.mcp, name, s.key); status != http.StatusOK {
			t.Errorf("%s right after the greeting: %d %s", name, status, fault)
		}
	}
}

func TestAChangedFileIsFollowed(t *testing.T) {
	upstream := mcptest.Start(t, mcptest.Stateless())
	file := filepath.Join(t.TempDir(), "servers.yaml")
	write(t, file, server("one", upstream.URL)+server("two", upstream.URL))
	s := up(t, launch.Up{Files: []string{file}})

	write(t, file, server("two", upstream.URL)+server("three", upstream.URL))
	until(t, "the new object is served", func() bool { status, _, _ := tools(t, s.mcp, "three", s.key); return status == http.StatusOK })
	until(t, "the removed object is gone", func() bool {
		status, _, _ := tools(t, s.mcp, "one", s.key)
		return status == http.StatusNotFound
	})
	if status, fault, _ := tools(t, s.mcp, "two", s.key); status != http.StatusOK {
		t.Errorf("the object that stayed: %d %s", status, fault)
	}

	write(t, file, "kind: Server\nname: three\nspec: {endpoint: []}\n")
	complaint := s.says(t, s.log, `"msg":"a changed config file can't be applied[^}]*}`)[0]
	for _, want := range []string{"servers.yaml", "spec.endpoint", "did you mean endpoints?", "line 3"} {
		if !strings.Contains(complaint, want) {
			t.Errorf("the complaint lacks %q: %s", want, complaint)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	s.says(t, s.log, `can't be applied[^}]*no such file`)
	if status, fault, _ := tools(t, s.mcp, "three", s.key); status != http.StatusOK {
		t.Errorf("a bad file, and then none, took away what was in force: %d %s", status, fault)
	}
	if n := strings.Count(s.log.String(), "did you mean endpoints?"); n != 1 {
		t.Errorf("one mistake is told %d times", n)
	}

	write(t, file, server("four", upstream.URL))
	until(t, "the mended file is served", func() bool { status, _, _ := tools(t, s.mcp, "four", s.key); return status == http.StatusOK })
}

func TestObjectsOfAFileAreReadOnlyByAPI(t *testing.T) {
	file := filepath.Join(t.TempDir(), "servers.yaml")
	write(t, file, server("one", "http://127.0.0.1:9/mcp"))
	dir := t.TempDir()
	s := up(t, launch.Up{DataDir: dir, Files: []string{file}})
	change := &adminv1.PutServerRequest{Name: "one", Server: &configv1.Server{Name: "one", Spec: &configv1.ServerSpec{Endpoints: []*configv1.Endpoint{{Url: "http://127.0.0.1:8/mcp"}}}}}
	refusal := func(s *single) error {
		_, err := s.client(t).PutServer(t.Context(), change)
		return err
	}
	if err := refusal(s); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a write was refused with %v, want it to name %s", err, file)
	}
	d := operator.Deletion{Kind: "server", Name: "one"}
	if _, err := d.Run(t.Context(), s.client(t)); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a deletion was refused with %v, want it to name %s", err, file)
	}
	if err := s.end(t); err != nil {
		t.Fatal(err)
	}

	s = up(t, launch.Up{DataDir: dir})
	s.says(t, s.log, `"msg":"an object belongs to a file that isn't given[^}]*"object":"server/one","owner":"`+file)
	if err := refusal(s); err == nil {
		t.Error("without the file, its object can be written")
	}
	d.Owner = file
	if _, err := d.Run(t.Context(), s.client(t)); err != nil {
		t.Errorf("deletion in the file's name: %v", err)
	}
	if err := refusal(s); err != nil {
		t.Errorf("the name isn't free again: %v", err)
	}
}

func TestADirectoryIsOneSet(t *testing.T) {
	upstream := mcptest.Start(t, mcptest.Stateless())
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.yaml"), server("one", upstream.URL))
	write(t, filepath.Join(dir, "b.yaml"), server("two", upstream.URL))
	s := up(t, launch.Up{Files: []string{dir}})
	if err := os.Remove(filepath.Join(dir, "b.yaml")); err != nil {
		t.Fatal(err)
	}
	until(t, "the removed file's object is gone", func() bool { status, _, _ := tools(t, s.mcp, "two", s.key); return status == http.StatusNotFound })
	write(t, filepath.Join(dir, "c.yml"), server("three", upstream.URL))
	until(t, "the new file's object is served", func() bool { status, _, _ := tools(t, s.mcp, "three", s.key); return status == http.StatusOK })
	if status, fault, _ := tools(t, s.mcp, "one", s.key); status != http.StatusOK {
		t.Errorf("the file that stayed: %d %s", status, fault)
	}
}

func TestABadFileEndsTheStart(t *testing.T) {
	dir := t.TempDir()
	bad, other := filepath.Join(dir, "bad.yaml"), filepath.Join(dir, "other.yaml")
	write(t, bad, "kind: Servr\nname: one\n")
	write(t, other, server("one", "http://127.0.0.1:9/mcp"))
	for name, c := range map[string]struct {
		files []string
		want  []string
	}{
		"mistake":          {[]string{bad}, []string{"-f " + bad, "line 1", "did you mean Server?"}},
		"missing":          {[]string{filepath.Join(dir, "none.yaml")}, []string{"none.yaml", "no such file"}},
		"in two files":     {[]string{other, copyOf(t, other)}, []string{"server", "one", "belongs to the file " + other}},
		"nothing in there": {[]string{t.TempDir()}, []string{"no objects"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, m := bootUp(t, launch.Up{Files: c.files})
			err := m.wait(t)
			if err == nil {
				t.Fatal("it ran")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q lacks %q", err, want)
				}
			}
		})
	}
}

func copyOf(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	write(t, file+".copy.yaml", string(b))
	return file + ".copy.yaml"
}
