// Package e2e holds journeys against the real things: the hopgate binary as processes, MCP servers and clients from npm and the Go SDK, the
// conformance suite, Jaeger, a three-node etcd, nginx.
//
// It promises that every peer is a real program started by the test on loopback addresses or in network namespaces of its own, that all of them are gone when the test
// ends, and that their logs are shown when it fails. It refuses to skip: a missing tool is a failure. The tests carry the build tag e2e; run
// them with `make e2e`, which installs the tools and names them in the environment.
package e2e
