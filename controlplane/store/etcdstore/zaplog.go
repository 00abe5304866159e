package etcdstore

import (
	"context"
	"log/slog"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// zapLogger passes etcd's own log lines on: errors as errors (etcd exits the process on some, and the reason must be seen) but for the one that
// each first start has, warnings as debug lines, the rest not at all.
func zapLogger(log *slog.Logger) *zap.Logger { return zap.New(&zapCore{log: log}) }

// ofEachFirstStart is what etcd 3.7 says at the level of errors when it has never elected a leader: the storage version is written a moment
// later.
const ofEachFirstStart = "failed to update storage version"

// zapCore is a zapcore.Core in front of a slog.Logger.
type zapCore struct {
	log    *slog.Logger
	fields []zapcore.Field
}

var _ zapcore.Core = (*zapCore)(nil)

func slogLevel(level zapcore.Level) slog.Level {
	if level >= zapcore.ErrorLevel {
		return slog.LevelError
	}
	return slog.LevelDebug
}

// Enabled implements zapcore.LevelEnabler.
func (c *zapCore) Enabled(level zapcore.Level) bool {
	return level >= zapcore.WarnLevel && c.log.Enabled(context.Background(), slogLevel(level))
}

// With implements zapcore.Core.
func (c *zapCore) With(fields []zapcore.Field) zapcore.Core {
	return &zapCore{log: c.log, fields: append(c.fields[:len(c.fields):len(c.fields)], fields...)}
}

// Check implements zapcore.Core.
func (c *zapCore) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(entry.Level) {
		return checked.AddCore(entry, c)
	}
	return checked
}

// Write implements zapcore.Core.
func (c *zapCore) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	enc := zapcore.NewMapObjectEncoder()
	attrs := make([]slog.Attr, 0, len(c.fields)+len(fields))
	for _, list := range [][]zapcore.Field{c.fields, fields} {
		for _, f := range list {
			f.AddTo(enc)
			attrs = append(attrs, slog.Any(f.Key, enc.Fields[f.Key]))
		}
	}
	level := slogLevel(entry.Level)
	if entry.Message == ofEachFirstStart {
		level = slog.LevelDebug
	}
	c.log.LogAttrs(context.Background(), level, "etcd: "+entry.Message, attrs...)
	return nil
}

// Sync implements zapcore.Core.
func (c *zapCore) Sync() error { return nil }
