package api

import (
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/oklog/ulid/v2"

	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

// token is where a page ended, bound to its list.
type token struct{ list, after string }

// String returns the page token: opaque to callers.
func (t token) String() string {
	return base64.RawURLEncoding.EncodeToString([]byte(t.list + "\x00" + t.after))
}

func parseToken(s string) (t token, ok bool) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return t, false
	}
	t.list, t.after, ok = strings.Cut(string(b), "\x00")
	return t, ok && t.list != "" && t.after != ""
}

// page reads the size and the start of the asked page of a list. Sizes above the largest are cut to it.
func page(r *adminv1.ListRequest, list string) (n int, after string, err error) {
	n = int(r.GetPageSize())
	switch {
	case r.GetObject() != "" && !strings.HasPrefix(list, kindChange):
		return 0, "", invalidField("object", "is only for changes", "leave it out")
	case n < 0:
		return 0, "", invalidField("page_size", fmt.Sprintf("is %d", n), fmt.Sprintf("ask for 1 to %d, or 0 for %d", pageMost, pageDefault))
	case n == 0:
		n = pageDefault
	}
	n = min(n, pageMost)
	if r.GetPageToken() == "" {
		return n, "", nil
	}
	t, ok := parseToken(r.GetPageToken())
	if ok && strings.HasPrefix(t.list, kindChange) {
		_, err := ulid.ParseStrict(t.after)
		ok = err == nil
	}
	if !ok {
		return 0, "", invalidField("page_token", "isn't a token of this API", "send next_page_token of the page before as it came")
	}
	if t.list != list {
		return 0, "", invalidField("page_token", "belongs to another list", "send next_page_token of the same list")
	}
	return n, t.after, nil
}
