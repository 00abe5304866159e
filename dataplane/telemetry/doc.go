// Package telemetry makes everything that is told about a request from one record: the access line, the metrics, the error line, the
// spans, the diagnostic hop list, and what the fleet hears about upstreams.
//
// It promises that a request that is neither sampled nor failed costs no span, no allocation and no lock that waits for I/O: lines are
// appended to a bounded buffer that one goroutine writes, metrics go through handles found by one lookup, and spans are made after the
// fact from the record's times, under ids that were chosen when the request began. A failed request is exported whether it was sampled
// or not. The five tellings of a failure name the same hop, phase and kind. Where a request is about several servers, each of its legs is told
// like a request of its own to that server, with a span in the request's tree, and a failed leg has the whole tree exported.
//
// It promises bounds: names that callers choose (methods, tools, error codes) are folded before they become labels, everything written
// is escaped and cut to a length, and a reader too slow for the access log loses lines, which are counted, instead of slowing requests.
//
// It refuses to hold bodies, arguments, results, tokens or session ids (only a session's short hash), to touch Prometheus' default
// registry or OpenTelemetry's global provider, and to let an untrusted caller's trace context become a parent or force sampling.
package telemetry
