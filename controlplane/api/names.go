package api

// tracerName is the instrumentation scope of our spans.
const tracerName = "github.com/hopgate/hopgate/controlplane/api"

// kindChange is what change records are called where objects have kinds.
const kindChange = "change"

// Keys of audit lines.
const (
	logCaller  = "caller"  // record name: master, or the name of an API key
	logRole    = "role"    // admin, viewer
	logMethod  = "method"  // PutServer
	logRemote  = "remote"  // address of the caller
	logOutcome = "outcome" // ok, or the gRPC code
	logObjects = "objects" // kind/name, at most ten
	logMore    = "more_objects"
	logChange  = "change" // id of the change
	logRepeat  = "repeat" // answered as an earlier request was
	logDry     = "validate_only"
	logFields  = "fields" // paths of what was refused
)
