package process

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/hopgate/hopgate/proto/attr"
)

// LogConfig says how a process logs.
type LogConfig struct {
	// Out takes the lines, each in one Write; nil means standard error.
	Out io.Writer
	// Format is human (default) or json.
	Format string
	// Level is debug, info (default), warn or error.
	Level string
}

// NewLogger returns a logger for the whole process. Hand each part its own with Component.
func NewLogger(cfg LogConfig) (*slog.Logger, error) {
	var level slog.Level
	if cfg.Level != "" {
		if err := level.UnmarshalText([]byte(cfg.Level)); err != nil {
			return nil, fmt.Errorf("log level %q is not known; use debug, info, warn or error", cfg.Level)
		}
	}
	out := cfg.Out
	if out == nil {
		out = os.Stderr
	}
	switch strings.ToLower(cfg.Format) {
	case "", "human":
		return slog.New(&humanHandler{out: &lockedWriter{w: out}, level: level}), nil
	case "json":
		return slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: level})), nil
	}
	return nil, fmt.Errorf("log format %q is not known; use human or json", cfg.Format)
}

// Component returns a logger whose lines bear the part's name.
func Component(log *slog.Logger, name string) *slog.Logger { return log.With(attr.LogComponent, name) }
