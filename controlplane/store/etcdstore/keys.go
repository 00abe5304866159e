package etcdstore

import (
	"encoding/hex"
	"strings"

	"github.com/hopgate/hopgate/proto/confset"
)

// The keys; the package doc says what they hold.
const (
	prefix     = "/hopgate/v1/default/"
	epochKey   = prefix + "meta/epoch"
	newestKey  = prefix + "meta/head"
	restoreKey = prefix + "meta/restore"
	specs      = prefix + "spec/"
	objs       = prefix + "obj/"
	changes    = prefix + "change/"
	requests   = prefix + "request/"
	fences     = prefix + "fence/"
	replicas   = prefix + "replica/"
	meetings   = prefix + "meeting/"
	changesEnd = prefix + "change0" // '0' follows '/'
)

func specKey(key confset.Key) string { return specs + key.Kind + "/" + key.Name }

func objKey(hash confset.Hash) string { return objs + hash.String() }

func parseSpecKey(key string) (confset.Key, bool) {
	rest, ok := strings.CutPrefix(key, specs)
	kind, name, both := strings.Cut(rest, "/")
	return confset.Key{Kind: kind, Name: name}, ok && both && kind != "" && name != ""
}

func parseHash(s string) (confset.Hash, bool) {
	var hash confset.Hash
	if len(s) != hex.EncodedLen(len(hash)) {
		return hash, false
	}
	_, err := hex.Decode(hash[:], []byte(s))
	return hash, err == nil
}
