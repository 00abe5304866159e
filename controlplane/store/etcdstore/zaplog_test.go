package etcdstore

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"go.uber.org/zap"
)

func TestEtcdsErrorsReachOurLog(t *testing.T) {
	var out bytes.Buffer
	log := zapLogger(slog.New(slog.NewTextHandler(&out, nil))).With(zap.String("member", "m1"))
	log.Info("chatter")
	log.Warn("slow disk")
	log.Error("disk is gone", zap.Error(errors.New("EIO")), zap.Int("tries", 3))
	text := out.String()
	if strings.Count(text, "\n") != 1 || !strings.Contains(text, `level=ERROR msg="etcd: disk is gone" member=m1 error=EIO tries=3`) {
		t.Fatalf("log:\n%s", text)
	}
}
