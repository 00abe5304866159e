package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	shellBlock = regexp.MustCompile("(?s)```sh\n(.*?)```")
	inText     = regexp.MustCompile("`((?:bin/)?hopgate [^`]+)`")
	ours       = regexp.MustCompile(`^(?:[A-Z_]+=\S+ )*(?:bin/)?hopgate (.*)$`)
	aside      = regexp.MustCompile(`\s+#.*$`)
	intoFile   = regexp.MustCompile(`\s+>\s*\S+\s*$`)
)

// TestDocumentsShowCommandsThatExist takes every command line of ours out of README and handbook and checks names, flags and arguments.
func TestDocumentsShowCommandsThatExist(t *testing.T) {
	root := filepath.Join("..", "..")
	paths, err := filepath.Glob(filepath.Join(root, "deploy", "handbook", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, path := range append(paths, filepath.Join(root, "README.md")) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range commandLines(string(b)) {
			seen++
			if err := parses(line); err != nil {
				t.Errorf("%s: hopgate %s: %v", filepath.Base(path), line, err)
			}
		}
	}
	if seen < 15 {
		t.Errorf("only %d command lines were found", seen)
	}
	if parses("apply --wiat") == nil || parses("aply") == nil || parses("call") == nil {
		t.Error("a wrong command line passes")
	}
}

// commandLines are those of shell blocks, with continued lines joined, and those in running text that are more than a name.
func commandLines(text string) []string {
	var lines, out []string
	for _, block := range shellBlock.FindAllStringSubmatch(text, -1) {
		lines = append(lines, strings.Split(strings.ReplaceAll(block[1], "\\\n", " "), "\n")...)
	}
	for _, m := range inText.FindAllStringSubmatch(text, -1) {
		if strings.Contains(m[1], " --") {
			lines = append(lines, m[1])
		}
	}
	for _, l := range lines {
		if m := ours.FindStringSubmatch(intoFile.ReplaceAllString(aside.ReplaceAllString(l, ""), "")); m != nil {
			out = append(out, m[1])
		}
	}
	return out
}

// parses reports what is wrong with a command line, without running it.
func parses(line string) error {
	cmd, args, err := newRoot().Find(split(line))
	if err != nil {
		return err
	}
	if err := cmd.ParseFlags(args); err != nil {
		return err
	}
	if err := cmd.ValidateArgs(cmd.Flags().Args()); err != nil {
		return err
	}
	return cmd.ValidateRequiredFlags()
}
