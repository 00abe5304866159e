// Package attr holds the names of span attributes, log keys, spans and metrics: one file for both planes, so that one question finds the
// answers of all processes.
//
// Names without hopgate in front are those of the OpenTelemetry semantic conventions: the MCP conventions (mcp.*, and gen_ai.*, jsonrpc.*
// and rpc.* as these use them), network, server, client, http, url, error, service and cloud; as of semconv v1.41.0 and the GenAI
// conventions that carry MCP since. They are kept here as constants because the generated Go packages drop MCP in later versions.
// It refuses names for what must not be recorded: arguments and results of tools, credentials, whole session ids.
package attr

// OpenTelemetry conventions for MCP.
const (
	Method    = "mcp.method.name"          // tools/call
	Protocol  = "mcp.protocol.version"     // MCP revision, 2025-11-25
	Session   = "mcp.session.id"           // short hash, never the id
	Resource  = "mcp.resource.uri"         // params.uri of resources/read
	Tool      = "gen_ai.tool.name"         // params.name of tools/call
	Prompt    = "gen_ai.prompt.name"       // params.name of prompts/get
	Operation = "gen_ai.operation.name"    // execute_tool, on tools/call only
	RequestID = "jsonrpc.request.id"       // JSON-RPC id as text
	RPCStatus = "rpc.response.status_code" // JSON-RPC error code in decimal
	RPCSystem = "rpc.system"               // grpc, on spans of the admin API
	RPCMethod = "rpc.method"               // full method, on spans of the admin API
	ErrorType = "error.type"               // kind of the fault, or tool_error
)

// ExecuteTool is the value of Operation on tools/call.
const ExecuteTool = "execute_tool"

// ToolError is the value of ErrorType for results with isError.
const ToolError = "tool_error"

// OpenTelemetry conventions for networks, HTTP and resources.
const (
	Transport       = "network.transport"        // tcp
	ProtocolName    = "network.protocol.name"    // http
	ProtocolVersion = "network.protocol.version" // 1.1, 2
	PeerAddress     = "network.peer.address"     // IP of the other end
	PeerPort        = "network.peer.port"
	ServerAddress   = "server.address" // host of the configured URL
	ServerPort      = "server.port"
	ClientAddress   = "client.address" // IP of the caller
	ClientPort      = "client.port"
	HTTPMethod      = "http.request.method"       // POST
	HTTPStatus      = "http.response.status_code" // 200
	URLPath         = "url.path"                  // without query
	EndUser         = "enduser.id"                // whom the caller named, where it may
	ServiceName     = "service.name"              // DataPlane or ControlPlane
	ServiceInstance = "service.instance.id"       // name of the node or replica
	ServiceVersion  = "service.version"
	CloudRegion     = "cloud.region"
)

// Values of ServiceName.
const (
	DataPlane    = "hopgate-dataplane"
	ControlPlane = "hopgate-controlplane"
)

// Our own attributes. Hop, Phase and Kind hold the words of package fault.
const (
	Hop            = "hopgate.hop"
	Phase          = "hopgate.phase"
	Kind           = "hopgate.kind"
	Remote         = "hopgate.remote" // the peer said so
	Server         = "hopgate.server" // configured name
	Region         = "hopgate.region"
	Node           = "hopgate.node"              // data plane
	ConfigRevision = "hopgate.config.revision"   // store revision a request or table stands at
	Caller         = "hopgate.caller"            // name of the key, never the key
	Era            = "hopgate.era"               // legacy, modern
	Bridge         = "hopgate.bridge"            // one era was translated into the other
	Attempt        = "hopgate.attempt"           // counts from 1
	Reused         = "hopgate.connection.reused" // no dial was needed
	OneShot        = "hopgate.one_shot"          // initialize, call, DELETE on behalf of a caller without session
	Events         = "hopgate.events"            // server-sent events relayed
	BytesIn        = "hopgate.bytes.in"          // body taken
	BytesOut       = "hopgate.bytes.out"         // body given
	SessionHash    = "hopgate.session"           // the same short hash as Session
	Milliseconds   = "hopgate.duration_ms"       // on events
)

// Attributes of a change on its way.
const (
	Change   = "hopgate.change"         // id of the change
	Objects  = "hopgate.objects"        // how many it touches
	Digest   = "hopgate.digest"         // of a set, first eight digits
	Nonce    = "hopgate.nonce"          // of an update on its stream
	Nodes    = "hopgate.nodes"          // data planes it goes to
	Rejected = "hopgate.rejected"       // objects refused
	Replica  = "hopgate.replica"        // control plane
	Full     = "hopgate.update.full"    // the whole set, not a delta
	Link     = "hopgate.update.links"   // further changes merged into it
	Object   = "hopgate.object"         // kind/name
	Field    = "hopgate.object.field"   // path of a refused field
	Revision = "hopgate.store.revision" // commit revision
	Epoch    = "hopgate.store.epoch"    // of the store
	Outcome  = "hopgate.outcome"        // applied, rejected, refused
)

// Names of spans. A request's spans are named "{method} {tool or prompt}" by the MCP conventions.
const (
	SpanAuth       = "auth"
	SpanRoute      = "route"
	SpanCredential = "credential"   // finding what a server wants of us
	SpanApply      = "Apply"        // the API call of a change
	SpanAdmit      = "admit"        // its checks
	SpanCommit     = "store.commit" // its transaction
	SpanPush       = "push"         // per view
	SpanTable      = "apply"        // in the data plane
	SpanAck        = "ack"          // its answer
)

// Keys of log records beside the attributes above, which may be log keys too.
const (
	LogComponent = "component"
	LogTrace     = "trace_id"
	LogSpan      = "span_id"
	LogError     = "error" // cause, in one line
)

// Names of metrics, as Prometheus spells them. Those of the MCP conventions are mcp.server.operation.duration and
// mcp.client.operation.duration, in seconds.
const (
	MetricServerDuration = "mcp_server_operation_duration_seconds"
	MetricClientDuration = "mcp_client_operation_duration_seconds"
	MetricOverhead       = "hopgate_overhead_seconds"
	MetricFaults         = "hopgate_faults_total"
	MetricSuppressed     = "hopgate_fault_traces_suppressed_total"
	MetricAccessDropped  = "hopgate_access_dropped_total"
	MetricRequests       = "hopgate_active_requests"
	MetricStreams        = "hopgate_active_streams"
	MetricRevision       = "hopgate_config_revision"
	MetricConfigAge      = "hopgate_config_age_seconds"
	MetricApply          = "hopgate_config_apply_seconds"
	MetricRejected       = "hopgate_config_rejected_objects"

	MetricSyncStreams    = "hopgate_sync_streams"
	MetricPush           = "hopgate_push_seconds"
	MetricConvergence    = "hopgate_convergence_seconds"
	MetricAcks           = "hopgate_acks_total"
	MetricNodesBehind    = "hopgate_nodes_behind"
	MetricResyncs        = "hopgate_resyncs_total"        // control plane: whole sets sent because the digests differed
	MetricConfigResyncs  = "hopgate_config_resyncs_total" // data plane: whole sets asked for because the digests differed
	MetricStoreStale     = "hopgate_store_stale_seconds"
	MetricStoreRevision  = "hopgate_store_revision"
	MetricStoreLoads     = "hopgate_store_loads_total"
	MetricHeldRemovals   = "hopgate_held_removals"
	MetricRolloutsOpen   = "hopgate_rollouts_open"
	MetricRolloutLeader  = "hopgate_rollout_leader"
	MetricUnopenedObject = "hopgate_unopened_objects_total"
)

// Labels of metrics.
const (
	LabelMethod  = "method"
	LabelServer  = "server"
	LabelTool    = "tool"
	LabelOutcome = "outcome"
	LabelRegion  = "region"
	LabelHop     = "hop"
	LabelPhase   = "phase"
	LabelKind    = "kind"
)
