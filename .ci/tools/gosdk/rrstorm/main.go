// Rrstorm is what rr_storm.mjs is, with the Go SDK's client: sessions that call at an even pace, all at once. It prints a JSON line for each
// call. Its only argument is the same as the script's, without library.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

type ask struct {
	Headers  map[string]string
	Lasts    int64 // milliseconds
	Limit    int64 // milliseconds, of a call
	Sessions []session
}

type session struct {
	Client, URL string
	Ops         []op
	Count       int64
}

type op struct {
	Op, Name, Expect string
	Arguments        map[string]any
}

type line struct {
	Client string `json:"client"`
	Token  string `json:"token"`
	Op     string `json:"op"`
	From   int64  `json:"from"`
	To     int64  `json:"to"`
	Error  string `json:"error,omitempty"`
}

var out sync.Mutex

func main() {
	var a ask
	if len(os.Args) != 2 || json.Unmarshal([]byte(os.Args[1]), &a) != nil {
		fmt.Fprintln(os.Stderr, "usage: rrstorm JSON")
		os.Exit(2)
	}
	var all sync.WaitGroup
	for _, s := range a.Sessions {
		all.Go(func() {
			if err := a.storm(context.Background(), s); err != nil {
				fmt.Fprintln(os.Stderr, s.Client, err)
				os.Exit(1)
			}
		})
	}
	all.Wait()
}

// marked adds the headers to each request.
type marked map[string]string

func (m marked) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	for k, v := range m {
		r.Header.Set(k, v)
	}
	return http.DefaultTransport.RoundTrip(r)
}

func (a ask) connect(ctx context.Context, s session) (*mcp.ClientSession, error) {
	heads := marked{"x-e2e-client": s.Client}
	for k, v := range a.Headers {
		heads[k] = v
	}
	client := mcp.NewClient(&mcp.Implementation{Name: "rr-storm", Version: "1"}, &mcp.ClientOptions{
		ElicitationHandler: func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			return &mcp.ElicitResult{Action: "accept", Content: map[string]any{"name": "Ada", "username": "ada", "email": "ada@example.com", "check": true}}, nil
		},
		CreateMessageHandler: func(context.Context, *mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
			return &mcp.CreateMessageResult{Role: "assistant", Model: "none", Content: &mcp.TextContent{Text: "sampled by the client"}}, nil
		},
	})
	// By default it gives a session up when its standalone stream, of a server without event ids, broke for the sixth time.
	return client.Connect(ctx, &mcp.StreamableClientTransport{Endpoint: s.URL, HTTPClient: &http.Client{Transport: heads}, MaxRetries: 1000}, nil)
}

func (a ask) storm(ctx context.Context, s session) error {
	c, err := a.connect(ctx, s)
	if err != nil {
		return err
	}
	began := time.Now()
	lasts := time.Duration(a.Lasts) * time.Millisecond
	for i := range s.Count {
		<-time.After(time.Until(began.Add(lasts * time.Duration(i) / time.Duration(s.Count))))
		a.one(ctx, c, s, s.Ops[i%int64(len(s.Ops))], fmt.Sprintf("%s-%d", s.Client, i))
	}
	<-time.After(time.Until(began.Add(lasts + 3*time.Second)))
	for i := range 3 {
		a.one(ctx, c, s, s.Ops[i], fmt.Sprintf("end-%s-%d", s.Client, i))
	}
	return c.Close()
}

func (a ask) one(ctx context.Context, c *mcp.ClientSession, s session, o op, token string) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(a.Limit)*time.Millisecond)
	defer cancel()
	l := line{Client: s.Client, Token: token, Op: strings.TrimSpace(o.Op + " " + o.Name), From: time.Now().UnixMilli()}
	said, err := perform(ctx, c, o, token)
	l.To = time.Now().UnixMilli()
	b, _ := json.Marshal(said)
	switch want := strings.ReplaceAll(o.Expect, "$TOKEN", token); {
	case err != nil:
		l.Error = err.Error()
	case !strings.Contains(string(b), want):
		l.Error = "unexpected: " + string(b[:min(len(b), 300)])
	}
	b, _ = json.Marshal(l)
	out.Lock()
	defer out.Unlock()
	fmt.Println(string(b))
}

func perform(ctx context.Context, c *mcp.ClientSession, o op, token string) (any, error) {
	meta := mcp.Meta{"e2e/token": token}
	args, texts := map[string]any{}, map[string]string{}
	for k, v := range o.Arguments {
		if s, ok := v.(string); ok {
			s = strings.ReplaceAll(s, "$TOKEN", token)
			v, texts[k] = s, s
		}
		args[k] = v
	}
	switch o.Op {
	case "tools":
		return c.ListTools(ctx, &mcp.ListToolsParams{Meta: meta})
	case "prompts":
		return c.ListPrompts(ctx, &mcp.ListPromptsParams{Meta: meta})
	case "resources":
		return c.ListResources(ctx, &mcp.ListResourcesParams{Meta: meta})
	case "prompt":
		return c.GetPrompt(ctx, &mcp.GetPromptParams{Meta: meta, Name: o.Name, Arguments: texts})
	case "resource":
		return c.ReadResource(ctx, &mcp.ReadResourceParams{Meta: meta, URI: o.Name})
	}
	return c.CallTool(ctx, &mcp.CallToolParams{Meta: meta, Name: o.Name, Arguments: args})
}
