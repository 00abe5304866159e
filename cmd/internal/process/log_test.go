package process_test

import (
	"encoding/json"
	"errors"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/cmd/internal/process"
)

func TestHumanLines(t *testing.T) {
	tests := []struct {
		name string
		say  func(*slog.Logger)
		want string
	}{
		{"plain", func(l *slog.Logger) { l.Info("ready") }, "HOPGATE:INFO: ready"},
		{"component", func(l *slog.Logger) { process.Component(l, "follow").Warn("stream lost", "retry", 2*time.Second) },
			"HOPGATE:WARNING: follow: stream lost retry=2s"},
		{"values", func(l *slog.Logger) {
			l.Error("x", "a", 1, "b", "two words", "c", "", "d", errors.New("k=v"), "e", true, "f", "plain/text:1")
		}, `HOPGATE:ERROR: x a=1 b="two words" c="" d="k=v" e=true f=plain/text:1`},
		{"groups", func(l *slog.Logger) { l.With("n", 1).WithGroup("g").With("m", 2).Debug("x", slog.Group("h", "o", 3)) },
			"HOPGATE:DEBUG: x n=1 g.m=2 g.h.o=3"},
		{"time", func(l *slog.Logger) { l.Info("x", "at", time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)) }, "HOPGATE:INFO: x at=2026-01-02T03:04:05Z"},
		{"one line", func(l *slog.Logger) { l.Info("a\nHOPGATE:INFO: forged\x1b[31m", "k\n", "v\nw\u2028") },
			`HOPGATE:INFO: a HOPGATE:INFO: forged [31m k ="v\nw\u2028"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			log, out := newLog(t)
			tt.say(log)
			got := out.String()
			if !regexp.MustCompile(`^\d\d:\d\d:\d\d - `).MatchString(got) || got[11:] != tt.want+"\n" {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestJSONLines(t *testing.T) {
	out := &buffer{}
	log, err := process.NewLogger(process.LogConfig{Out: out, Format: "json"})
	if err != nil {
		t.Fatal(err)
	}
	process.Component(log, "follow").Info("ready", "revision", 7)
	m := map[string]any{}
	if err := json.Unmarshal([]byte(out.String()), &m); err != nil || m["component"] != "follow" || m["revision"] != 7.0 || m["msg"] != "ready" {
		t.Error(out.String(), err)
	}
}

func TestLevels(t *testing.T) {
	out := &buffer{}
	log, err := process.NewLogger(process.LogConfig{Out: out, Level: "warn"})
	if err != nil {
		t.Fatal(err)
	}
	log.Info("no")
	log.Warn("yes")
	if got := out.String(); strings.Contains(got, "no") || !strings.Contains(got, "yes") {
		t.Error(got)
	}
}

func TestLoggerNamesWhatIsWrong(t *testing.T) {
	for _, cfg := range []process.LogConfig{{Format: "xml"}, {Level: "loud"}} {
		if _, err := process.NewLogger(cfg); err == nil || !strings.Contains(err.Error(), "use ") {
			t.Error(err)
		}
	}
}

func TestVersion(t *testing.T) {
	b := process.ThisBuild()
	if b.Version == "" || !strings.HasPrefix(b.Go, "go") || !strings.HasPrefix(b.String(), b.Version+" (") {
		t.Errorf("%+v %s", b, b)
	}
	full := process.Build{Version: "v1.2.3", Commit: "0123456789abcdef", Date: "2026-11-23T04:00:00Z", Dirty: true, Go: "go1.26.8"}
	if got := full.String(); got != "v1.2.3 (commit 0123456789ab with changes, 2026-11-23T04:00:00Z, go1.26.8)" {
		t.Error(got)
	}
}
