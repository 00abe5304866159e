package request

import "github.com/hopgate/hopgate/dataplane/request/message"

// reshape turns the name of a tool that the server's config shows under another one into the server's own. An unknown name stays as it is, and
// is refused like any that isn't open.
func (h *Handler) reshape(x *exchange) error {
	if x.server.Shape == nil || x.rec.Method != "tools/call" {
		return nil
	}
	shown := x.env.NameString(x.body)
	tool, ok := x.server.Shape.Real(shown)
	if !ok {
		return unknownName("tool", shown)
	}
	if tool == shown {
		return nil
	}
	x.called = shown
	return x.rewrite(message.Rename(x.spare(), x.body, &x.env, tool), tool)
}

// tool names the called tool as its caller does, for what the caller is told: the server's own name may be one that the config hides.
func (x *exchange) tool() string {
	if x.called != "" {
		return shown(x.called)
	}
	return shown(x.rec.Tool)
}

// spare is the buffer for a body that is written anew.
func (x *exchange) spare() []byte { return x.other[:0] }

// rewrite takes a changed body in place of the received one. name is what Mcp-Name mirrors from now on.
func (x *exchange) rewrite(body []byte, name string) error {
	x.body, x.other = body, x.body
	if err := message.Scan(x.body, x.table.Settings().Depth, &x.env); err != nil {
		return err
	}
	x.describe()
	if x.call.MCPName != "" && name != "" {
		x.call.MCPName = string(message.AppendHeader(nil, name))
	}
	return nil
}
