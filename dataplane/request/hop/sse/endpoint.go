package sse

import (
	"bytes"
	"net/url"
	"strings"

	"github.com/hopgate/hopgate/dataplane/table"
)

// mostEndpoint bounds the URL at which a server wants messages, in bytes.
const mostEndpoint = 8 << 10

// endpoint reads the data of an endpoint event (MCP 2024-11-05, transports): a URL, absolute or relative to the stream's, of the same origin.
func endpoint(server string, stream *table.Target, data string) (*table.Target, error) {
	data = strings.TrimSpace(data)
	if data == "" || len(data) > mostEndpoint {
		return nil, badEndpoint(server)
	}
	base, err := url.Parse(stream.Origin + stream.Path)
	if err != nil {
		return nil, badEndpoint(server)
	}
	u, err := base.Parse(data)
	switch {
	case err != nil:
		return nil, badEndpoint(server)
	case u.User != nil || !strings.EqualFold(u.Scheme, base.Scheme) || !strings.EqualFold(u.Hostname(), base.Hostname()) || portOf(u) != portOf(base):
		return nil, otherOrigin(server)
	}
	to := *stream
	to.Path = u.RequestURI()
	if !plain(to.Path) {
		return nil, badEndpoint(server)
	}
	return &to, nil
}

func portOf(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	if strings.EqualFold(u.Scheme, "https") {
		return "443"
	}
	return "80"
}

// plain reports whether s can stand in a request line.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return strings.HasPrefix(s, "/")
}

// eventName returns what kind an event says it is: message unless it says something else.
func eventName(event []byte) string {
	name := "message"
	for len(event) > 0 {
		end := bytes.IndexAny(event, "\r\n")
		if end < 0 {
			end = len(event)
		}
		if v, ok := bytes.CutPrefix(event[:end], []byte("event:")); ok {
			name = string(bytes.TrimPrefix(v, []byte(" ")))
		}
		event = event[min(end+1, len(event)):]
	}
	return name
}
