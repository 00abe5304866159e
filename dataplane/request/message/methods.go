package message

// methods interns every method that an MCP revision up to 2026-07-28 or the tasks extension defines, in either direction.
var methods = intern(
	"initialize", "ping", "server/discover", "subscriptions/listen",
	"tools/list", "tools/call", "prompts/list", "prompts/get", "completion/complete", "logging/setLevel",
	"resources/list", "resources/read", "resources/templates/list", "resources/subscribe", "resources/unsubscribe",
	"tasks/get", "tasks/list", "tasks/result", "tasks/update", "tasks/cancel",
	"sampling/createMessage", "elicitation/create", "roots/list",
	"notifications/initialized", "notifications/cancelled", "notifications/progress", "notifications/message",
	"notifications/tools/list_changed", "notifications/prompts/list_changed", "notifications/resources/list_changed",
	"notifications/resources/updated", "notifications/roots/list_changed", "notifications/elicitation/complete",
	"notifications/subscriptions/acknowledged", "notifications/tasks", "notifications/tasks/status",
)

func intern(names ...string) map[string]string {
	m := make(map[string]string, len(names))
	for _, n := range names {
		m[n] = n
	}
	return m
}

// KnownMethod reports whether an MCP revision defines the method: the bound for labels made of method names.
func KnownMethod(method string) bool {
	_, ok := methods[method]
	return ok
}
