// Package process is the glue between a Hopgate program and the machine it runs on: logs, traces, signals, actors that start and stop in
// order, certificates and secrets in files, the admin listener's debug pages, and the version.
//
// It promises that everything here is handed out as a value: it sets no global logger, tracer provider or metrics registry. What it
// starts it waits for. Its errors name the file, flag or variable and say what to do; secrets are never echoed.
//
// It refuses to know anything about MCP or configuration, and to decide for the planes: both get what they need in their Config.
package process
