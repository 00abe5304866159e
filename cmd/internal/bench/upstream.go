package main

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// serveUpstream is the fast upstream: a fixed result with the request's id as JSON on /mcp, on /events five events 20 ms apart, each stamped
// with this machine's clock, below /many/ servers with many tools, and below /bad/ servers that fail.
func serveUpstream(addr string) error {
	mux := http.NewServeMux()
	mux.HandleFunc("/mcp", fixed)
	mux.HandleFunc("/events", stamped)
	mux.HandleFunc("/many/", server)
	mux.HandleFunc("/bad/", bad)
	s := &http.Server{Addr: addr, Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	return s.ListenAndServe()
}

func fixed(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) //nolint:errcheck // a short body gets a null id
	out := make([]byte, 0, 128)
	out = append(out, `{"jsonrpc":"2.0","id":`...)
	out = append(out, id(body)...)
	out = append(out, `,"result":{"content":[{"type":"text","text":"hello"}]}}`...)
	h := w.Header()
	h["Content-Type"] = []string{"application/json"}
	h["Content-Length"] = []string{strconv.Itoa(len(out))}
	w.Write(out) //nolint:errcheck // the load generator counts what it gets
}

func stamped(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body) //nolint:errcheck // the body doesn't matter
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	flush := w.(http.Flusher).Flush //nolint:forcetypeassert // net/http's writers all flush
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range 4 {
		fmt.Fprintf(w, "event: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"level\":\"info\",\"data\":%d}}\n\n", time.Now().UnixNano())
		flush()
		<-tick.C
	}
	fmt.Fprintf(w, "event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"data\":%d}}\n\n", time.Now().UnixNano())
}
