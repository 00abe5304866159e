package launch

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hopgate/hopgate/cmd/internal/operator"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	"github.com/hopgate/hopgate/proto/netrange"
)

// welcome puts the demo's objects and the files in force once the control plane is ready, tells a person how to go on, and then watches the
// files. Being told to stop meanwhile is no failure.
func (o *one) welcome(ctx context.Context) error {
	if err := o.control.WaitReady(ctx); err != nil {
		return nil //nolint:nilerr // told to stop
	}
	admin, err := operator.Connect(operator.Access{API: "http://" + o.control.AdminAddr().String(), Key: o.key.value})
	if err != nil {
		return err
	}
	defer admin.Close() //nolint:errcheck // the process ends
	files := fileSets(o.up.Files, admin, o.up.Log)
	if err := o.prepare(ctx, admin, files); err != nil {
		if ctx.Err() != nil {
			return nil //nolint:nilerr // told to stop
		}
		return err
	}
	o.greet()
	return files.watch(ctx)
}

// prepare returns when the data plane of this process serves the demo and the files, so that a call made then works.
func (o *one) prepare(ctx context.Context, admin *operator.Client, files *sets) error {
	demo, err := o.settleDemo(ctx, admin)
	if err != nil {
		return err
	}
	owned, err := files.apply(ctx)
	if err != nil {
		return err
	}
	return o.served(ctx, admin, max(demo, owned))
}

// served waits until the data plane of this process serves what was written up to a revision. It may never come to that revision itself:
// what isn't for it, like a secret that no server here needs, isn't sent to it.
func (o *one) served(ctx context.Context, admin *operator.Client, revision int64) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		if s := o.data.Status(); s.Loaded && (s.Version.Revision >= revision || inSync(ctx, admin, revision)) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// inSync reports whether the control plane knows that the data plane has all it should have at a revision. It may not know yet.
func inSync(ctx context.Context, admin *operator.Client, revision int64) bool {
	fleet, err := admin.ListNodes(ctx, &adminv1.ListRequest{})
	return err == nil && fleet.GetRevision() >= revision &&
		slices.ContainsFunc(fleet.GetNodes(), func(n *adminv1.Node) bool { return n.GetNode() == localNode && n.GetInSync() })
}

// greet tells a person what runs where and how to make the first call.
func (o *one) greet() {
	u := o.up
	mcp, admin := o.mcpURL(), baseURL(o.control.AdminAddr().String())
	var b strings.Builder
	fmt.Fprintf(&b, "\nHopgate is up: MCP on %s, admin API on %s (docs at %s/openapi.json)\n", mcp, admin, admin)
	switch {
	case o.key.made:
		fmt.Fprintf(&b, "Master key, shown this once and kept in %s:\n  %s\n", o.key.file, o.key.value)
	case o.key.file != "":
		fmt.Fprintf(&b, "The master key is in %s\n", o.key.file)
	}
	if u.Anonymous {
		b.WriteString("MCP callers need no key\n")
	}
	if o.demo == nil {
		fmt.Fprintf(&b, "\nAdd a server:\n  hopgate apply -f server.yaml --api %s --data-dir %s\n\n", admin, u.DataDir)
	} else {
		fmt.Fprintf(&b, firstCalls, mcp, o.demoKey)
	}
	fmt.Fprint(u.Out, b.String())
}

// mcpURL is where to call: a listener off loopback that has public origins answers to these only.
func (o *one) mcpURL() string {
	if u := o.up; len(u.PublicOrigins) > 0 && !netrange.Loopback(u.Listen) {
		return u.PublicOrigins[0]
	}
	return baseURL(o.data.Addr().String())
}

const firstCalls = `
Try it: the demo server's tools, with what happened on every hop
  curl -si -X POST %[1]s/demo/mcp \
    -H "Content-Type: application/json" \
    -H "x-litellm-api-key: Bearer %[2]s" \
    -H "x-litellm-mcp-debug: true" \
    -d '{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}'

Claude Code
  claude mcp add --transport http demo %[1]s/demo/mcp --header "x-litellm-api-key: Bearer %[2]s"

MCP Inspector
  npx @modelcontextprotocol/inspector --cli %[1]s/demo/mcp --transport http --method tools/list --header "x-litellm-api-key: Bearer %[2]s"

`
