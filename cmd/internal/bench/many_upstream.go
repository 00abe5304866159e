package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	manyServers = 20
	manyTools   = 50
	toolBytes   = 500
)

// toolList is what each of the many servers lists: 50 tools of 500 bytes; longList is that of the one at longPath, 5,000 tools.
var toolList, longList = tools(manyTools), tools(longTools)

const (
	longTools = 5000
	longPath  = "long"
	// quietPath is that of one with sessions and event streams, on which it says nothing.
	quietPath = "quiet"
)

func tools(n int) []byte {
	out := []byte(`"result":{"tools":[`)
	for i := range n {
		if i > 0 {
			out = append(out, ',')
		}
		head := fmt.Sprintf(`{"name":"tool_%02d","inputSchema":{"type":"object","properties":{"message":{"type":"string"}}},"description":"`, i)
		out = append(out, head...)
		out = append(out, strings.Repeat("x", toolBytes-len(head)-2)...)
		out = append(out, `"}`...)
	}
	return append(out, `]}}`...)
}

// server is one of the many: with sessions where the path says so. All of them are the same.
func server(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) //nolint:errcheck // a short body gets a null id
	h := w.Header()
	switch {
	case r.Method == http.MethodGet && r.URL.Path == "/many/"+quietPath:
		h["Content-Type"] = []string{"text/event-stream"}
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush() //nolint:forcetypeassert // net/http's writers all flush
		<-r.Context().Done()
		return
	case r.Method != http.MethodPost:
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	case !bytes.Contains(body, []byte(`"id":`)):
		w.WriteHeader(http.StatusAccepted)
		return
	}
	rest := []byte(`"result":{"content":[{"type":"text","text":"hello"}]}}`)
	switch {
	case bytes.Contains(body, []byte(`"initialize"`)):
		rest = []byte(`"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"many","version":"1"}}}`)
		if strings.HasPrefix(r.URL.Path, "/many/keeper") || r.URL.Path == "/many/"+quietPath {
			h["Mcp-Session-Id"] = []string{"0123456789abcdef0123456789abcdef"}
		}
	case bytes.Contains(body, []byte(`"tools/list"`)):
		if rest = toolList; r.URL.Path == "/many/"+longPath {
			rest = longList
		}
	}
	out := make([]byte, 0, 64+len(rest))
	out = append(out, `{"jsonrpc":"2.0","id":`...)
	out = append(out, id(body)...)
	out = append(out, ',')
	out = append(out, rest...)
	h["Content-Type"] = []string{"application/json"}
	h["Content-Length"] = []string{strconv.Itoa(len(out))}
	w.Write(out) //nolint:errcheck // the load generator counts what it gets
}

// id finds the id of a request that our own tools wrote.
func id(body []byte) []byte {
	if i := bytes.Index(body, []byte(`"id":`)); i >= 0 {
		rest := body[i+5:]
		if j := bytes.IndexAny(rest, ",}"); j >= 0 {
			return rest[:j]
		}
	}
	return []byte("null")
}

// bad fails as the path says: after the head, with garbage, without a word, or a byte a second.
func bad(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body) //nolint:errcheck // the body doesn't matter
	w.Header().Set("Content-Type", "application/json")
	switch strings.TrimPrefix(r.URL.Path, "/bad/") {
	case "garbled":
		io.WriteString(w, "{{{ no JSON") //nolint:errcheck // the gateway reads it or not
	case "mute":
		<-r.Context().Done()
	case "stuck":
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush() //nolint:forcetypeassert // net/http's writers all flush
		<-r.Context().Done()
	default:
		drip(w, r)
	}
}

func drip(w http.ResponseWriter, r *http.Request) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		io.WriteString(w, " ")   //nolint:errcheck // the gateway leaves
		w.(http.Flusher).Flush() //nolint:forcetypeassert // net/http's writers all flush
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}
