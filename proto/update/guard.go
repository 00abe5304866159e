package update

import (
	"slices"

	"github.com/hopgate/hopgate/proto/confset"
)

// kindServer is the kind of what is served.
const kindServer = "server"

// Suspicious says whether a whole set, which leads from what is held by a delta, isn't to be taken although it is what its digest says: it comes
// from another store than before, and that may have lost its content.
func Suspicious(held *confset.Set, d confset.Delta) bool {
	return confset.Much(len(d.Removals), held.Len()) || empties(held, d)
}

// empties says whether nothing is left that could be served: the set has servers, all of them go, and none comes.
func empties(held *confset.Set, d confset.Delta) bool {
	leaving := 0
	for range held.Kind(kindServer) {
		leaving++
	}
	if leaving == 0 || slices.ContainsFunc(d.Upserts, func(o confset.Object) bool { return o.Key.Kind == kindServer }) {
		return false
	}
	for _, k := range d.Removals {
		if k.Kind == kindServer {
			leaving--
		}
	}
	return leaving == 0
}
