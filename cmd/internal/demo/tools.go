package demo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

type echoIn struct {
	Message string `json:"message" jsonschema:"what to say back"`
}

type addIn struct {
	A float64 `json:"a"`
	B float64 `json:"b"`
}

type addOut struct {
	Sum float64 `json:"sum"`
}

type slowIn struct {
	Seconds float64 `json:"seconds,omitempty" jsonschema:"how long in all, at most 60; 2 when left out"`
	Steps   int     `json:"steps,omitempty" jsonschema:"how many progress notifications, at most 100; 4 when left out"`
}

type failIn struct {
	Message string `json:"message,omitempty" jsonschema:"what to fail with"`
}

func addTools(s *mcp.Server) {
	mcp.AddTool(s, &mcp.Tool{Name: "echo", Description: "Says a message back."},
		func(_ context.Context, _ *mcp.CallToolRequest, in echoIn) (*mcp.CallToolResult, any, error) {
			return text("Echo: " + in.Message), nil, nil
		})
	mcp.AddTool(s, &mcp.Tool{Name: "add", Description: "Adds two numbers; answers with structured content."},
		func(_ context.Context, _ *mcp.CallToolRequest, in addIn) (*mcp.CallToolResult, addOut, error) {
			return nil, addOut{Sum: in.A + in.B}, nil
		})
	mcp.AddTool(s, &mcp.Tool{Name: "slow", Description: "Takes its time and reports progress."}, slow)
	mcp.AddTool(s, &mcp.Tool{Name: "fail", Description: "Fails as a tool: the result has isError."},
		func(_ context.Context, _ *mcp.CallToolRequest, in failIn) (*mcp.CallToolResult, any, error) {
			if in.Message == "" {
				in.Message = "failed as asked"
			}
			return nil, nil, errors.New(in.Message)
		})
}

func slow(ctx context.Context, req *mcp.CallToolRequest, in slowIn) (*mcp.CallToolResult, any, error) {
	if in.Seconds <= 0 {
		in.Seconds = 2
	}
	if in.Steps <= 0 {
		in.Steps = 4
	}
	in.Seconds, in.Steps = min(in.Seconds, 60), min(in.Steps, 100)
	tick := time.NewTicker(max(time.Duration(in.Seconds*float64(time.Second))/time.Duration(in.Steps), time.Millisecond))
	defer tick.Stop()
	token := req.Params.GetProgressToken()
	for i := range in.Steps {
		select {
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case <-tick.C:
		}
		if token == nil {
			continue
		}
		note := &mcp.ProgressNotificationParams{ProgressToken: token, Progress: float64(i + 1), Total: float64(in.Steps), Message: fmt.Sprintf("step %d of %d", i+1, in.Steps)}
		if err := req.Session.NotifyProgress(ctx, note); err != nil {
			return nil, nil, err
		}
	}
	return text(fmt.Sprintf("done after %d steps", in.Steps)), nil, nil
}

func text(s string) *mcp.CallToolResult {
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: s}}}
}
