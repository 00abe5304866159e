//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// quick is the client of polls and small calls.
var quick = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 16}}

// okay is nil when a GET answers 200.
func okay(url string) error {
	res, err := quick.Get(url)
	if err != nil {
		return err
	}
	defer res.Body.Close() //nolint:errcheck // read only
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", res.Status, bytes.TrimSpace(body))
	}
	return nil
}

// answer is an HTTP answer, read to its end.
type answer struct {
	Status int
	Header http.Header
	Body   string
}

// post sends a JSON-RPC message the way the bare curl does: no session, no revision.
func post(url, key, body string, header ...string) (answer, error) {
	req, err := http.NewRequest(http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	if key != "" {
		req.Header.Set("X-Litellm-Api-Key", "Bearer "+key)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := quick.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close() //nolint:errcheck // read only
	b, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, string(b)}, err
}

// toolCall is a tools/call message.
func toolCall(tool string, args map[string]any) string {
	b, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": map[string]any{"name": tool, "arguments": args}})
	if err != nil {
		panic(err)
	}
	return string(b)
}

// echo calls the echo tool and fails unless exactly that comes back.
func echo(url, key, text string) error {
	a, err := post(url, key, toolCall("echo", map[string]any{"message": text}))
	if err != nil {
		return err
	}
	if a.Status != http.StatusOK || !strings.Contains(a.Body, `"Echo: `+text+`"`) {
		return fmt.Errorf("status %d, %s: %s", a.Status, a.Header.Get("X-Hopgate-Error"), a.Body)
	}
	return nil
}

// rpcError is the error of a JSON-RPC answer.
type rpcError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Data    struct {
		Hop     string `json:"hop"`
		Phase   string `json:"phase"`
		Kind    string `json:"kind"`
		Server  string `json:"server"`
		TraceID string `json:"trace_id"`
	} `json:"data"`
}

func (a answer) rpcError(t *testing.T) rpcError {
	t.Helper()
	var m struct {
		Error *rpcError `json:"error"`
	}
	err := json.Unmarshal([]byte(a.Body), &m)
	if err == nil && m.Error == nil {
		err = errors.New("no error in it")
	}
	if err != nil {
		t.Fatalf("answer %d is no JSON-RPC error: %v: %s", a.Status, err, a.Body)
	}
	return *m.Error
}
