package rest

import (
	"net/http"
	"strings"

	"github.com/hopgate/hopgate/dataplane/request/endpoint"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/request/reply"
	"github.com/hopgate/hopgate/proto/fault"
	"github.com/hopgate/hopgate/proto/names"
)

// mostPages bounds how often a list is asked for more.
const mostPages = 200

func (v *visit) list() error {
	if v.in.Method != http.MethodGet {
		return v.WrongMethod(http.MethodGet)
	}
	one, some := asked(v.in.Query)
	path, server := "/mcp", ""
	switch {
	case one != "":
		path = v.path(one)
	case len(some) == 1 && !strings.Contains(some[0], ","):
		path = v.path(some[0])
	case len(some) > 0:
		path = "/" + strings.Join(some, ",") + "/mcp"
		if endpoint.Parse(path).Kind != endpoint.List {
			path = ""
		}
	}
	if path == "" {
		return v.unknown()
	}
	if e := endpoint.Parse(path); e.Kind == endpoint.Server {
		if _, is := v.Table().Server(e.Name); is { // else a group, whose tools bear the names of their servers
			server = e.Name
		}
	}
	out, n := []byte(`{"tools":[`), 0
	err := v.tools(path, func(item *message.Item) {
		if n++; n > 1 {
			out = append(out, ',')
		}
		out = appendTool(out, server, item)
	})
	if err != nil {
		return err
	}
	v.Answer(http.StatusOK, reply.JSON(), append(out, `],"error":null,"message":"Successfully retrieved tools"}`...))
	return nil
}

// tools walks the pages of an endpoint's tools.
func (v *visit) tools(path string, each func(item *message.Item)) error {
	cursor, left := "", v.Table().Settings().Result
	for range mostPages {
		body := []byte(`{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{`)
		if cursor != "" {
			body = appendQuoted(append(body, `"cursor":`...), cursor)
		}
		next := ""
		err := v.ask(path, append(body, "}}"...), func(answer []byte) error {
			l, err := message.Items(answer, "tools")
			for i := range l.Items {
				if left -= int64(len(l.Items[i].Raw)); left < 0 {
					return tooLarge()
				}
				each(&l.Items[i])
			}
			next = l.Next
			return err
		})
		if err != nil || next == "" {
			return err
		}
		if next == cursor {
			break
		}
		cursor = next
	}
	return &fault.Error{Hop: fault.Upstream, Phase: fault.Protocol, Kind: fault.Malformed, Message: "the list of tools doesn't end"}
}

// tooLarge is for lists whose pages each are within the limit.
func tooLarge() error {
	return &fault.Error{Hop: fault.Upstream, Phase: fault.Body, Kind: fault.TooLarge, Message: "the list of tools is larger than the limit for results",
		Hint: "name a server with server_id, or raise spec.limits.result in Settings"}
}

// appendTool appends a tool under its server's own name for it, with mcp_info.server_name. A name that was cut to fit stays as it is exposed.
func appendTool(out []byte, server string, item *message.Item) []byte {
	name := ""
	if server == "" {
		var cut bool
		if server, name, cut, _ = names.Split(item.Name); cut {
			name = ""
		}
	}
	out = message.AppendItem(out, item.Raw, message.View{Name: name}, nil)
	end := len(out) - 1
	for end > 0 && out[end] != '}' {
		end--
	}
	out = append(out[:end], `,"mcp_info":{"server_name":`...)
	return append(appendQuoted(out, server), "}}"...)
}
