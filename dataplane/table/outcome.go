package table

import (
	"fmt"
	"runtime"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/proto/confset"
)

// Outcome is what became of an object that wasn't simply applied.
type Outcome struct {
	Key confset.Key
	// Rejected: this version of the object is not served. False: it is, with a warning.
	Rejected bool
	// Field is its path, like spec.endpoints[0].url; empty when the object as a whole is meant.
	Field string
	// Text says what is wrong and how to fix it, without secrets.
	Text string
}

// Check compiles one object as Apply would, in every region at once, and returns what would stand against it. It is pure. What depends
// on other objects (two API keys with one hash) it can't see.
func Check(obj confset.Object) []Outcome {
	return compile(obj, "", nil).outs
}

// result is what became of one object. value is a pointer to what is served: *Server, *apiKey, *Settings, *Ring, *Team, *Toolset, *Secret,
// *IdentityProvider, *gateway or *laid. It is nil when the object was rejected or its kind is unknown; only a rejected ingress or overlay leaves something.
type result struct {
	value    any
	outs     []Outcome
	overlaid bool // rejected, and wouldn't be without its overlays
}

// compile turns a body, with overlays over it, into what is served. A panic in it is a fault of this version: it costs the object, not the
// process.
func compile(obj confset.Object, region string, over []*laid) (r result) {
	n := notes{key: obj.Key}
	defer func() {
		if recover() != nil {
			n.reject("", "compiling it failed inside this version of the data plane; upgrade it or change the object back")
		}
		if n.rejected {
			r.value = nil
			switch obj.Key.Kind {
			case kindIngress:
				r.value = closedGateway(obj)
			case kindOverlay:
				r.value = unread(obj)
			}
		}
		r.outs = n.with(over)
	}()
	whole := n.lay(obj, over)
	if n.rejected {
		return r
	}
	r.value = compileKind(whole, region, &n)
	return r
}

func compileKind(obj confset.Object, region string, n *notes) any {
	switch obj.Key.Kind {
	case kindServer:
		return compileServer(obj, region, n)
	case kindKey:
		return compileKey(obj, n)
	case kindSettings:
		return compileSettings(obj, n)
	case kindRing:
		return compileRing(obj, n)
	case kindTeam:
		return compileTeam(obj, n)
	case kindToolset:
		return compileToolset(obj, n)
	case kindSecret:
		return compileSecret(obj, n)
	case kindProvider:
		return compileProvider(obj, n)
	case kindIngress:
		return compileIngress(obj, n)
	case kindOverlay:
		return readOverlay(obj, n)
	}
	n.warn("", "kind not known to this version; upgrade the data plane to use it")
	return nil
}

// parallelFrom is the number of objects from which compiling is spread over all processors.
const parallelFrom = 256

// site is what compiling depends on besides the object.
type site struct {
	region   string
	overlays map[confset.Key][]*laid
}

// compileAll compiles every object, in order.
func (s site) compileAll(objs []confset.Object) []result {
	out := make([]result, len(objs))
	workers := 1
	if len(objs) >= parallelFrom {
		workers = runtime.GOMAXPROCS(0)
	}
	var wg sync.WaitGroup
	for w := 1; w < workers; w++ {
		wg.Go(func() { s.compileSome(objs, out, w, workers) })
	}
	s.compileSome(objs, out, 0, workers)
	wg.Wait()
	return out
}

// compileSome compiles one contiguous share of the objects.
func (s site) compileSome(objs []confset.Object, out []result, share, shares int) {
	for i := len(objs) * share / shares; i < len(objs)*(share+1)/shares; i++ {
		out[i] = s.compile(objs[i])
	}
}

// compile compiles one object with its overlays, and where that is refused says whether these are why.
func (s site) compile(obj confset.Object) result {
	over := s.of(obj.Key)
	r := compile(obj, s.region, over)
	r.overlaid = len(over) > 0 && rejects(r.outs) > 0 && rejects(compile(obj, s.region, nil).outs) == 0
	return r
}

// notes collects the outcomes of one object.
type notes struct {
	key      confset.Key
	outs     []Outcome
	rejected bool
}

func (n *notes) reject(field, format string, args ...any) {
	n.outs = append(n.outs, Outcome{Key: n.key, Rejected: true, Field: field, Text: fmt.Sprintf(format, args...)})
	n.rejected = true
}

func (n *notes) warn(field, format string, args ...any) {
	n.outs = append(n.outs, Outcome{Key: n.key, Field: field, Text: fmt.Sprintf(format, args...)})
}

// named is what every kind's message has.
type named interface {
	proto.Message
	GetName() string
}

// unknown tells of fields of a later version. What admits and grants is rejected, since a field without effect may have been a restriction.
func (n *notes) unknown() {
	switch n.key.Kind {
	case kindServer, kindSettings, kindRing:
		n.warn("", "has fields not known to this version, which have no effect here; upgrade the data plane to use them")
	default:
		n.reject("", "has fields not known to this version, and what they restrict would be open; upgrade the data plane to use them")
	}
}

// decode reads a body into m and checks that it is the object its key says.
func decode(obj confset.Object, m named, n *notes) bool {
	if err := proto.Unmarshal(obj.Body, m); err != nil {
		n.reject("", "the body is not a valid %s message; write the object again", m.ProtoReflect().Descriptor().Name())
		return false
	}
	if m.GetName() != obj.Key.Name {
		n.reject("name", "is not the name the object is stored under; write the object again")
		return false
	}
	if r := m.ProtoReflect(); shapes[r.Descriptor().Name()].holdsUnknown(r) {
		n.unknown()
	}
	return true
}
