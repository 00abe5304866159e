package launch

import (
	"crypto/sha256"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/hopgate/hopgate/cmd/internal/operator"
	"github.com/hopgate/hopgate/cmd/internal/process"
	"github.com/hopgate/hopgate/proto/netrange"
)

// What a master key must have where others can try keys: one that was made has 35 characters, some 25 of them different.
const (
	masterLength   = 24
	masterDistinct = 8
)

// master is the master key and where it came from.
type master struct {
	value string
	file  string // empty: it came from the environment
	made  bool
}

func loadMaster(dir, given string) (*master, error) {
	if given != "" {
		return &master{value: given}, nil
	}
	file := filepath.Join(dir, operator.MasterKeyFile)
	b, made, err := process.SecretFile(file, func() ([]byte, error) { return []byte(operator.Secret()), nil })
	if err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	m := &master{value: strings.TrimSpace(string(b)), file: file, made: made}
	if m.value == "" {
		return nil, fmt.Errorf("master key: %s is empty; put a key there, or remove the file so that one is made", file)
	}
	return m, nil
}

// check refuses keys that could be guessed where what they open leaves loopback.
func (m *master) check(opens, addr string) error {
	distinct := map[rune]bool{}
	for _, r := range m.value {
		distinct[r] = true
	}
	if netrange.Loopback(addr) || len(m.value) >= masterLength && len(distinct) >= masterDistinct {
		return nil
	}
	return fmt.Errorf("the master key (%s) is too weak for %s on %s: off loopback it needs at least %d characters, %d of them different; `openssl rand -hex 24` makes one",
		m.source(), opens, addr, masterLength, masterDistinct)
}

func (m *master) source() string {
	if m.file == "" {
		return "HOPGATE_MASTER_KEY"
	}
	return m.file
}

func (m *master) hash() [32]byte { return sha256.Sum256([]byte(m.value)) }

// tell says where the key is; never the key, which is not for logs.
func (m *master) tell(log *slog.Logger) {
	word := "the master key opens the admin API"
	if m.made {
		word = "made a master key: it opens the admin API"
	}
	log.Info(word, "kept_in", m.source())
}
