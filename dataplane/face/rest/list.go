package rest

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/hopgate/hopgate/dataplane/request/endpoint"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/request/reply"
	"github.com/hopgate/hopgate/proto/fault"
)

// mostPages bounds how often a list is asked for more.
const mostPages = 200

func (v *visit) list() error {
	if v.in.Method != http.MethodGet {
		return v.WrongMethod(http.MethodGet)
	}
	p, err := v.asked()
	if err != nil {
		return err
	}
	var came outcomes
	told := came.take
	if p.server != "" {
		told = nil // what a server says of others is no word of ours
	}
	out, n := []byte(`{"tools":[`), 0
	err = v.tools(&p, func(item *message.Item) {
		if n++; n > 1 {
			out = append(out, ',')
		}
		out = v.appendTool(out, &p, item)
	}, told)
	if err != nil {
		return err
	}
	if n == 0 && came.nothing() {
		return came.refusal()
	}
	v.Answer(http.StatusOK, reply.JSON(), came.appendEnd(append(out, ']')))
	return nil
}

// asked reads from the query what is to be listed.
func (v *visit) asked() (p place, err error) {
	values, err := url.ParseQuery(v.in.Query)
	ids, some := values["server_id"], values["mcp_server_name"]
	switch {
	case err != nil:
		return p, v.refuse(badQuery("", "the query can't be read", err))
	case len(ids) > 1:
		return p, v.refuse(badQuery("server_id", "server_id is in the query more than once", nil))
	case len(ids) == 1 && ids[0] != "":
		p, err = v.place(ids[0])
		p.exposed = true
		return p, err
	case len(some) == 1 && !strings.Contains(some[0], ","):
		return v.place(some[0])
	case len(some) > 0:
		p.path = "/" + strings.Join(some, ",") + "/mcp"
		if endpoint.Parse(p.path).Kind != endpoint.List {
			return p, v.unknown()
		}
		return p, nil
	}
	return place{path: "/mcp"}, nil
}

func badQuery(field, text string, err error) *fault.Error {
	f := malformed(field, text)
	f.Hint, f.Err = "ask with ?server_id=…, with ?mcp_server_name=… (also repeated), or without either; escape what isn't a letter or a digit", err
	return f
}

// tools walks the pages of an endpoint's tools. told gets each answer, if it isn't nil.
func (v *visit) tools(p *place, each func(item *message.Item), told func(answer []byte)) error {
	cursor, left := "", v.Table().Settings().Result
	for range mostPages {
		body := []byte(`{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{`)
		if cursor != "" {
			body = appendQuoted(append(body, `"cursor":`...), cursor)
		}
		next := ""
		err := v.ask(p.path, p.server, append(body, "}}"...), func(answer []byte) error {
			l, err := message.Items(answer, "tools")
			for i := range l.Items {
				if left -= int64(len(l.Items[i].Raw)); left < 0 {
					return tooLarge(p.server)
				}
				each(&l.Items[i])
			}
			if next = l.Next; told != nil && err == nil {
				told(answer)
			}
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
	return &fault.Error{Hop: fault.Upstream, Phase: fault.Protocol, Kind: fault.Malformed, Server: p.server, Message: "the list of tools doesn't end"}
}

// tooLarge is for lists whose pages each are within the limit.
func tooLarge(server string) error {
	return &fault.Error{Hop: fault.Upstream, Phase: fault.Body, Kind: fault.TooLarge, Server: server,
		Message: "the list of tools is larger than the limit for results", Hint: "name a server with server_id, or raise spec.limits.result in Settings"}
}

// appendTool appends a tool under the name by which it is called here, with whose it is in mcp_info. What its server says there itself goes.
func (v *visit) appendTool(out []byte, p *place, item *message.Item) []byte {
	server, name := v.owner(p, item.Name)
	info := append(appendQuoted([]byte(`{"server_name":`), server), '}')
	raw := item.Raw
	if name != "" {
		raw = message.AppendItem(nil, raw, message.View{Name: name}, nil)
	}
	return message.SetMember(out, raw, "mcp_info", info)
}
