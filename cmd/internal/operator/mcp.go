package operator

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// Gateway says how to reach a data plane as an MCP client.
type Gateway struct {
	// URL of the data plane, without a path.
	URL string
	// Key sent as x-hopgate-api-key; empty: none.
	Key string
	// TLS for https; nil: the system's CAs.
	TLS *tls.Config
	// Version told to the server.
	Version string
}

// Check reports whether URL can be one.
func (g Gateway) Check() error {
	_, err := baseOf("--url", g.URL, "http://127.0.0.1:4000")
	return err
}

// use connects to an endpoint, runs f, and disconnects. name is that of a server, a group or a toolset; empty: the endpoint of all servers. A
// failure says which hop it was, where the gateway said so.
func (g Gateway) use(ctx context.Context, name string, f func(*mcp.ClientSession) error) error {
	return g.useBy(ctx, &keyed{key: g.Key}, name, f)
}

func (g Gateway) useBy(ctx context.Context, way *keyed, name string, f func(*mcp.ClientSession) error) error {
	way.next = &http.Transport{TLSClientConfig: g.TLS, ForceAttemptHTTP2: true, Proxy: http.ProxyFromEnvironment}
	defer way.next.CloseIdleConnections()
	c := mcp.NewClient(&mcp.Implementation{Name: "hopgate", Version: g.Version}, nil)
	s, err := c.Connect(ctx, &mcp.StreamableClientTransport{
		Endpoint: strings.TrimSuffix(g.URL, "/") + path(name), HTTPClient: &http.Client{Transport: way}, DisableStandaloneSSE: true, MaxRetries: -1,
	}, nil)
	if err != nil {
		return way.explain(fmt.Errorf("connect to %s at %s: %w", or(name, "/mcp"), g.URL, err))
	}
	defer s.Close() //nolint:errcheck // what was asked for is done
	return way.explain(f(s))
}

func path(name string) string {
	if name == "" {
		return "/mcp"
	}
	return "/" + name + "/mcp"
}

// keyed adds the key to requests and remembers what the gateway said of the last one that failed.
type keyed struct {
	key  string
	bare bool              // asks for tools as their server has them
	hear func(data []byte) // gets each message that answers, as it came; nil: none
	next *http.Transport

	mu    sync.Mutex
	fault string // guarded by mu
}

// RoundTrip adds the key.
func (k *keyed) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if k.key != "" {
		r.Header.Set("X-Hopgate-Api-Key", "Bearer "+k.key)
	}
	if k.bare {
		r.Header.Set("X-Hopgate-Unshaped", "true")
	}
	res, err := k.next.RoundTrip(r)
	if err == nil && k.hear != nil && r.Method == http.MethodPost {
		err = overhear(res, k.hear)
	}
	if err != nil {
		return nil, err
	}
	fault := ""
	if res.Header.Get("X-Hopgate-Error") != "" {
		fault = tell(res)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.fault = fault
	return res, nil
}

// tell puts a failed answer into words: what happened, where, and what to do. The body can be read again.
func tell(res *http.Response) string {
	const most = 64 << 10
	head, err := io.ReadAll(io.LimitReader(res.Body, most))
	res.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), res.Body), res.Body}
	var body struct {
		Error struct {
			Message string
			Data    struct{ Hint string }
		}
	}
	if err != nil || json.Unmarshal(head, &body) != nil || body.Error.Message == "" {
		body.Error.Message = res.Status
	}
	text := fmt.Sprintf("%s\n  %s (trace %s)", clean(body.Error.Message), clean(res.Header.Get("X-Hopgate-Error")), clean(res.Header.Get("X-Hopgate-Trace-Id")))
	if hint := clean(body.Error.Data.Hint); hint != "" {
		text += "\n  " + hint
	}
	return text
}

// explain prefers the gateway's words to the client library's, which knows the status only.
func (k *keyed) explain(err error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil || k.fault == "" {
		return err
	}
	return errors.New(k.fault)
}

// Call calls a tool; arguments come from Arguments. A tool error is an error after its content was printed.
func (g Gateway) Call(ctx context.Context, server, tool string, arguments json.RawMessage, format string, out io.Writer) error {
	return g.use(ctx, server, func(s *mcp.ClientSession) error {
		res, err := s.CallTool(ctx, &mcp.CallToolParams{Name: tool, Arguments: arguments})
		if err != nil {
			return err
		}
		if format == JSON {
			err = encode(out, res)
		} else {
			err = printContent(out, res)
		}
		if err == nil && res.IsError {
			return fmt.Errorf("the tool %s failed", tool)
		}
		return err
	})
}

func printContent(out io.Writer, res *mcp.CallToolResult) error {
	for _, c := range res.Content {
		if t, ok := c.(*mcp.TextContent); ok {
			fmt.Fprintln(out, printable(t.Text, '\n', '\t'))
			continue
		}
		if err := encode(out, c); err != nil {
			return err
		}
	}
	if len(res.Content) == 0 && res.StructuredContent != nil {
		return encode(out, res.StructuredContent)
	}
	return nil
}

func encode(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// Arguments reads a tool's arguments: key=value pairs, whose values are JSON where they parse as such and text where not, or a single JSON
// object. Numbers stay as they were written.
func Arguments(args []string) (json.RawMessage, error) {
	if len(args) == 1 && strings.HasPrefix(strings.TrimSpace(args[0]), "{") {
		var object map[string]json.RawMessage
		if err := json.Unmarshal([]byte(args[0]), &object); err != nil {
			return nil, fmt.Errorf("arguments are not a JSON object: %w", err)
		}
		return json.RawMessage(args[0]), nil
	}
	out := map[string]json.RawMessage{}
	for _, a := range args {
		k, v, ok := strings.Cut(a, "=")
		if !ok || k == "" {
			return nil, fmt.Errorf("argument %q: give key=value pairs or one JSON object", a)
		}
		if _, twice := out[k]; twice {
			return nil, fmt.Errorf("argument %s is there twice", k)
		}
		if out[k] = json.RawMessage(v); json.Valid(out[k]) {
			continue
		}
		text, err := json.Marshal(v)
		if err != nil {
			return nil, fmt.Errorf("argument %s: %w", k, err)
		}
		out[k] = text
	}
	return json.Marshal(out)
}
