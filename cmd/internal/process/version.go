package process

import (
	"runtime/debug"
	"sync"
)

// Set with -ldflags "-X github.com/hopgate/hopgate/cmd/internal/process.version=v1.2.3"; commit and date come from the build otherwise.
var version, commit, date string

// Build says which program this is.
type Build struct {
	Version string // v1.2.3, or dev when nobody said
	Commit  string // revision of the sources, "" when unknown
	Date    string // RFC 3339 time of the commit, "" when unknown
	Dirty   bool   // built from changed sources
	Go      string // version of the compiler
}

// ThisBuild returns what is known about the running program.
var ThisBuild = sync.OnceValue(func() Build {
	info, _ := debug.ReadBuildInfo()
	return buildOf(info, version, commit, date)
})

func buildOf(info *debug.BuildInfo, version, commit, date string) Build {
	b := Build{Version: version, Commit: commit, Date: date}
	if info != nil {
		b.Go = info.GoVersion
		if b.Version == "" && info.Main.Version != "(devel)" {
			b.Version = info.Main.Version
		}
		for _, s := range info.Settings {
			b.take(s)
		}
	}
	if b.Version == "" {
		b.Version = "dev"
	}
	return b
}

func (b *Build) take(s debug.BuildSetting) {
	switch {
	case s.Key == "vcs.revision" && b.Commit == "":
		b.Commit = s.Value
	case s.Key == "vcs.time" && b.Date == "":
		b.Date = s.Value
	case s.Key == "vcs.modified":
		b.Dirty = s.Value == "true"
	}
}

// String returns one line for people, such as "v1.2.3 (commit 1a2b3c4d5e6f, 2026-11-23T04:00:00Z, go1.26.8)".
func (b Build) String() string {
	s := b.Version + " ("
	if b.Commit != "" {
		s += "commit " + b.Commit[:min(len(b.Commit), 12)]
		if b.Dirty {
			s += " with changes"
		}
		s += ", "
	}
	if b.Date != "" {
		s += b.Date + ", "
	}
	return s + b.Go + ")"
}
