package operator

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/hopgate/hopgate/dataplane/request/message"
)

// ToolsAsk says which tools are listed, and how.
type ToolsAsk struct {
	// Name of a server, an access group or a toolset, or a comma list; empty: all servers that the key opens.
	Name string
	// Format is Table or JSON.
	Format string
	// Pins writes the tools of one server as spec.tools takes them, each pinned to the definition that the server gives now.
	Pins bool
}

// Tools lists tools as the key sees them. Servers whose tools are missing, or of which some were left out, are told under a table, else to errs.
func (g Gateway) Tools(ctx context.Context, ask ToolsAsk, out, errs io.Writer) error {
	if ask.Pins {
		return g.pins(ctx, ask.Name, out)
	}
	all, missing := []*mcp.Tool{}, map[string]part{}
	err := g.use(ctx, ask.Name, func(s *mcp.ClientSession) error {
		return eachPage(ctx, s, func(page *mcp.ListToolsResult) {
			all = append(all, page.Tools...)
			failed(page.Meta, missing)
		})
	})
	if err != nil {
		return err
	}
	if ask.Format == JSON {
		printMissing(errs, missing)
		return encode(out, all)
	}
	rows := make([]string, len(all))
	for i, t := range all {
		line, _, _ := strings.Cut(t.Description, "\n")
		rows[i] = cells(t.Name, line)
	}
	if err := printRows(out, "TOOL\tDESCRIPTION", rows); err != nil {
		return err
	}
	printMissing(out, missing)
	return nil
}

// mostPages bounds a list whose cursors don't end.
const mostPages = 10_000

func eachPage(ctx context.Context, s *mcp.ClientSession, do func(*mcp.ListToolsResult)) error {
	var ask mcp.ListToolsParams
	for range mostPages {
		page, err := s.ListTools(ctx, &ask)
		if err != nil {
			return err
		}
		do(page)
		if ask.Cursor = page.NextCursor; ask.Cursor == "" {
			return nil
		}
	}
	return fmt.Errorf("the list has more than %d pages", mostPages)
}

// part is what an endpoint of several servers says came of one of them.
type part struct{ Status, Error, Cause, Warning string }

// outcomes is the member of _meta in which endpoints of several servers say what came of each.
const outcomes = "hopgate.dev/outcomes"

// failed takes the outcomes out of a page's _meta of which something is to be said.
func failed(meta mcp.Meta, missing map[string]part) {
	b, err := json.Marshal(meta[outcomes])
	if err != nil {
		return
	}
	var all map[string]part
	if json.Unmarshal(b, &all) != nil {
		return
	}
	for server, o := range all {
		if o.Status != "ok" && o.Status != "" || o.Warning != "" {
			missing[server] = o
		}
	}
}

func printMissing(w io.Writer, missing map[string]part) {
	for _, server := range slices.Sorted(maps.Keys(missing)) {
		o := missing[server]
		fmt.Fprintln(w, clean(o.said(server)))
	}
}

// said is what is told of a server's part.
func (o part) said(server string) string {
	if o.Status == "ok" {
		return "tools of " + server + ": " + o.Warning
	}
	line := "tools of " + server + " are missing: " + o.Status
	if o.Error != "" {
		line += " (" + o.Error + ")"
	}
	if o.Cause != "" {
		line += ", at last " + o.Cause
	}
	return line
}

// pins writes what the server itself says of its tools, whatever its config makes of them.
func (g Gateway) pins(ctx context.Context, server string, out io.Writer) error {
	type pin struct {
		Tool string `json:"tool"`
		Pin  string `json:"pin"`
	}
	var list struct {
		Overrides []pin `json:"overrides"`
	}
	way := &keyed{key: g.Key, bare: true, hear: func(data []byte) {
		listed, err := message.Items(data, "tools")
		if err != nil {
			return
		}
		for _, item := range listed.Items {
			list.Overrides = append(list.Overrides, pin{item.Name, message.Pin(item.Raw)})
		}
	}}
	several := false
	err := g.useBy(ctx, way, server, func(s *mcp.ClientSession) error {
		return eachPage(ctx, s, func(page *mcp.ListToolsResult) { several = several || page.Meta[outcomes] != nil })
	})
	if err != nil {
		return err
	}
	if several {
		return fmt.Errorf("%s isn't one server; pins belong to servers", server)
	}
	if len(list.Overrides) == 0 {
		return fmt.Errorf("%s lists no tools", server)
	}
	b, err := json.Marshal(list)
	if err != nil {
		return err
	}
	return encodeYAML(out, b)
}

// mostHeard is the largest answer that is overheard, in bytes.
const mostHeard = 256 << 20

// overhear reads an answer to its end and tells the messages in it, as they came. The body can be read again.
func overhear(res *http.Response, hear func([]byte)) error {
	body, err := io.ReadAll(io.LimitReader(res.Body, mostHeard))
	if closed := res.Body.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	switch kind {
	case "application/json":
		hear(body)
	case "text/event-stream":
		for event := range bytes.SplitSeq(bytes.ReplaceAll(body, []byte("\r\n"), []byte("\n")), []byte("\n\n")) {
			if data, ok := message.Data(nil, append(bytes.Clone(event), "\n\n"...)); ok {
				hear(data)
			}
		}
	}
	return nil
}
