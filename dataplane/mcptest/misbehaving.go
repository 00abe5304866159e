package mcptest

import (
	"fmt"
	"net"
	"net/http"
	"testing"
)

// Page answers with an HTML page, as a login portal or a proxy would.
func Page(status int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(status)
		fmt.Fprint(w, "<!doctype html><title>Sign in</title><p>secret-of-the-page")
	})
}

// Redirect sends callers elsewhere.
func Redirect(to string) http.Handler {
	return http.RedirectHandler(to, http.StatusFound)
}

// Status answers with a status and a body of a type.
func Status(status int, contentType, body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	})
}

// Silent takes the request and never answers.
func Silent() http.Handler {
	return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
}

// Stalls begins an event stream and then says nothing more.
func Stalls() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		Event(w, "", `{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"working"}}`)
		<-r.Context().Done()
	})
}

// Cut begins an event stream and breaks the connection in the middle. With ids the stream could be resumed.
func Cut(ids bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		id := ""
		if ids {
			id = "1"
		}
		Event(w, id, `{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"working"}}`)
		panic(http.ErrAbortHandler)
	})
}

// CutBody promises a JSON body and breaks the connection in the middle of it.
func CutBody(size int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", fmt.Sprint(size))
		w.Write(append([]byte(`{"jsonrpc":"2.0","id":1,"result":{"x":"`), make([]byte, size/2)...)) //nolint:errcheck // it is cut anyway
		panic(http.ErrAbortHandler)
	})
}

// RefusedURL returns the URL of a port on which nothing listens.
func RefusedURL(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String() + "/mcp"
}
