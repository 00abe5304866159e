// Command hopgate is a fleet of MCP gateways in one binary: control plane, data plane, both at once, and the operators' commands.
//
// It promises that every flag has a default shown by --help and an environment variable, and that the exit code says what happened: 0 done,
// 1 failed, 2 called wrongly, 3 differences found. It refuses to hold anything a test would want to call: commands turn flags into the Config of a package.
package main

import (
	"context"
	"os"

	"github.com/hopgate/hopgate/cmd/internal/process"
)

func main() {
	ctx, stop := process.Signals(context.Background(), nil)
	code := execute(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
