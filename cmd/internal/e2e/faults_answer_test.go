//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"testing"
	"time"
)

// soakFor is how long the long form of a journey lasts, from the variable SOAK; without it, the short form's time.
func soakFor(t *testing.T, short, most time.Duration) time.Duration {
	t.Helper()
	s := os.Getenv("SOAK")
	if s == "" {
		return short
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		t.Fatalf("SOAK is %q; make it a duration like 10m", s)
	}
	return min(max(d, short), most)
}

// stored is a server as the REST API shows it.
type stored struct {
	Labels map[string]string `json:"labels"`
	Meta   struct {
		Etag, Change string
		Generation   int64 `json:",string"`
	}
}

// problem is a refusal as the REST API shows it.
type problem struct {
	Code    int
	Message string
	Details []struct {
		Reason   string
		Metadata map[string]string
	}
}

func (p problem) reason() string {
	if len(p.Details) == 0 {
		return ""
	}
	return p.Details[0].Reason
}

// putLabels writes a server that has only labels to tell. The value is the change's message too, so that the log can be read by it.
func (c *control) putLabels(ctx context.Context, object, value, etag string, labels map[string]string) (status int, now stored, no problem, err error) {
	body, err := json.Marshal(map[string]any{"labels": labels, "spec": map[string]any{"endpoints": []any{map[string]any{"url": "http://127.0.0.1:9/mcp"}}}})
	if err != nil {
		return 0, now, no, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://"+c.Admin+"/v1/servers/"+object+"?message="+url.QueryEscape(value), bytes.NewReader(body))
	if err != nil {
		return 0, now, no, err
	}
	req.Header.Set("Authorization", "Bearer "+masterKey)
	if etag != "" {
		req.Header.Set("If-Match", `"`+etag+`"`)
	}
	res, err := quick.Do(req)
	if err != nil {
		return 0, now, no, err
	}
	defer res.Body.Close() //nolint:errcheck // read only
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, now, no, err
	}
	if res.StatusCode == http.StatusOK {
		return res.StatusCode, now, no, json.Unmarshal(answer, &now)
	}
	return res.StatusCode, now, no, json.Unmarshal(answer, &no)
}

// logged is one change as the log tells it.
type logged struct {
	ID, Message string
	Objects     []struct {
		Kind, Name, Action string
		Before, After      []byte
	}
}

// changes is the whole log, oldest first.
func (c *control) changes(t *testing.T) []logged {
	t.Helper()
	out := []logged{}
	for token := ""; ; {
		var page struct {
			Changes []logged
			Next    string `json:"next_page_token"`
		}
		if err := c.get("/v1/changes?page_size=1000&page_token="+url.QueryEscape(token), &page); err != nil {
			t.Fatal(err)
		}
		out = append(out, page.Changes...)
		if token = page.Next; token == "" {
			slices.Reverse(out)
			return out
		}
	}
}

// replay walks the log of one object and returns its messages in order. Each change has to begin where the one before it ended, and the
// last has to be the head: by id, by count and by the hash of the body, which is the end of an etag.
func (c *control) replay(t *testing.T, object string) []string {
	t.Helper()
	var head stored
	if err := c.get("/v1/servers/"+object, &head); err != nil {
		t.Fatal(err)
	}
	values, last, hash := []string{}, "", []byte(nil)
	for _, change := range c.changes(t) {
		for _, o := range change.Objects {
			if o.Kind != "server" || o.Name != object {
				continue
			}
			if !bytes.Equal(o.Before, hash) || change.ID <= last {
				t.Errorf("%s: change %s (%s) begins at %x after %s; the one before ended at %x", object, change.ID, change.Message, o.Before, last, hash)
			}
			values, last, hash = append(values, change.Message), change.ID, o.After
		}
	}
	etag, err := base64.RawURLEncoding.DecodeString(head.Meta.Etag)
	if err != nil || !bytes.HasSuffix(etag, hash) || len(hash) == 0 {
		t.Errorf("%s: etag %x (%v), the log ends at %x", object, etag, err, hash)
	}
	if head.Meta.Change != last || int(head.Meta.Generation) != len(values) {
		t.Errorf("%s: the head is of change %s, generation %d; the log has %d, the last is %s", object, head.Meta.Change, head.Meta.Generation, len(values), last)
	}
	return values
}

// sameRevision waits until the control planes show one revision, and returns it.
func sameRevision(t *testing.T, controls ...*control) (revision string) {
	t.Helper()
	eventually(t, 20*time.Second, "all control planes are at one revision", func() error {
		seen := map[string]string{}
		for _, c := range controls {
			var info, nodes struct{ Revision string }
			if err := c.get("/v1/info", &info); err != nil {
				return err
			}
			if err := c.get("/v1/nodes", &nodes); err != nil {
				return err
			}
			revision = info.Revision
			seen[info.Revision], seen[nodes.Revision] = c.Name, c.Name
		}
		if len(seen) != 1 {
			return fmt.Errorf("revisions %v", seen)
		}
		return nil
	})
	return revision
}
