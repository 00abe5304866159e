package operator

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hopgate/hopgate/proto/rules"
)

// Documents reads every object of the files; a directory stands for its .yaml, .yml and .json files in name order, "-" for standard input.
// An object that is there twice is an error that names both places. env looks up what values of secrets name as ${NAME} or os.environ/NAME;
// nil leaves them as they are.
func Documents(paths []string, stdin io.Reader, env func(string) (string, bool)) ([]rules.Document, error) {
	files, err := Files(paths)
	if err != nil {
		return nil, err
	}
	var out []rules.Document
	seen := map[string]string{}
	for _, f := range files {
		b, err := read(f, stdin)
		if err != nil {
			return nil, err
		}
		docs, err := rules.Documents(b)
		if err == nil && env != nil {
			err = expand(docs, env)
		}
		if err != nil {
			return nil, errors.New(f + ": " + strings.ReplaceAll(err.Error(), "\n", "\n"+f+": "))
		}
		for _, d := range docs {
			key, at := d.Kind+"/"+d.Name, fmt.Sprintf("%s:%d", f, d.Line)
			if before := seen[key]; before != "" {
				return nil, fmt.Errorf("%s: %s is there twice, first at %s", at, key, before)
			}
			seen[key] = at
		}
		out = append(out, docs...)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no objects in %s", strings.Join(paths, ", "))
	}
	return out, nil
}

func expand(docs []rules.Document, env func(string) (string, bool)) error {
	var all rules.Violations
	for i := range docs {
		all = append(all, rules.Expand(&docs[i], env)...)
	}
	return all.Err()
}

func read(f string, stdin io.Reader) ([]byte, error) {
	if f == "-" {
		return io.ReadAll(stdin)
	}
	return os.ReadFile(f)
}

// Files lists the files that paths stand for: a directory for its .yaml, .yml and .json files, "-" for itself.
func Files(paths []string) ([]string, error) {
	var out []string
	for _, p := range paths {
		if p == "-" {
			out = append(out, p)
			continue
		}
		info, err := os.Stat(p)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			out = append(out, p)
			continue
		}
		inside, err := configFiles(p)
		if err != nil {
			return nil, err
		}
		out = append(out, inside...)
	}
	return out, nil
}

func configFiles(dir string) ([]string, error) {
	var out []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(path)) {
			out = append(out, path)
		}
		return nil
	})
	slices.Sort(out)
	return out, err
}
