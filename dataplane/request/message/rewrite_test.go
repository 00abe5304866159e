package message_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/request/message"
)

func TestSetEventID(t *testing.T) {
	for _, c := range []struct{ name, event, id, want string }{
		{"in its place", "event: message\nid: 1\ndata: {}\n\n", "x", "event: message\nid: x\ndata: {}\n\n"},
		{"the first of several", "id: 1\ndata: {}\nid:2\n\n", "x", "id: x\ndata: {}\n\n"},
		{"made", "event: message\ndata: {}\n\n", "x", "id: x\nevent: message\ndata: {}\n\n"},
		{"taken away", "event: message\r\nid: 1\r\ndata: {}\r\n\r\n", "", "event: message\r\ndata: {}\r\n\r\n"},
		{"none to take away", ": ping\n\n", "", ": ping\n\n"},
		{"CRLF", "id: 1\r\ndata: {}\r\n\r\n", "x", "id: x\ndata: {}\r\n\r\n"},
		{"CR", "data: {}\rid\r\r", "x", "data: {}\rid: x\n\r"},
		{"byte order mark", "\xef\xbb\xbfdata: {}\n\n", "x", "id: x\ndata: {}\n\n"},
		{"a line break", "id: 1\ndata: {}\n\n", "x\ndata: y", "data: {}\n\n"},
		{"NUL", "id: 1\ndata: {}\n\n", "x\x00", "data: {}\n\n"},
	} {
		if got := message.SetEventID([]byte("kept "), []byte(c.event), c.id); string(got) != "kept "+c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestSetEventData(t *testing.T) {
	for _, c := range []struct{ name, event, data, want string }{
		{"in its place", "event: message\ndata: a\nid: 1\n\n", "{}", "event: message\ndata: {}\nid: 1\n\n"},
		{"several lines", "data: a\nid: 1\r\ndata: b\n: c\n\n", "{\n}", "data: {\ndata: }\nid: 1\r\n: c\n\n"},
		{"line breaks of all kinds", "data: a\n\n", "{\r\n\r1\n}", "data: {\ndata: \ndata: 1\ndata: }\n\n"},
		{"no data", "id: 1\n\n", "{}", "data: {}\nid: 1\n\n"},
		{"no event", "", "{}", "data: {}\n\n"},
		{"empty", "data: a\n\n", "", "data: \n\n"},
	} {
		if got := message.SetEventData([]byte("kept "), []byte(c.event), []byte(c.data)); string(got) != "kept "+c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// FuzzSetEvent: what a client reads is the id and data that were set, and everything else as it was.
func FuzzSetEvent(f *testing.F) {
	f.Add([]byte("event: message\r\nid: 1\r\ndata: {}\r\n\r\n"), "x", []byte("{\n}"))
	f.Add([]byte("data: [\rid: x\r: x\r\r"), "", []byte("[]"))
	f.Add([]byte("\xef\xbb\xbfdata: [\xef\xbb\xbfid: x\n"), "5", []byte("a\r"))
	f.Fuzz(func(t *testing.T, event []byte, id string, data []byte) {
		if strings.ContainsAny(id, "\r\n\x00") {
			id = ""
		}
		was, _ := message.Data(nil, event)
		out := message.SetEventID(nil, event, id)
		if is, _ := message.Data(nil, out); !bytes.Equal(is, was) || string(message.ID(out)) != id {
			t.Fatalf("%q became %q", event, out)
		}
		out = message.SetEventData(nil, event, data)
		want := strings.ReplaceAll(strings.ReplaceAll(string(data), "\r\n", "\n"), "\r", "\n")
		if is, _ := message.Data(nil, out); string(is) != want || !bytes.Equal(message.ID(out), message.ID(event)) {
			t.Fatalf("%q with %q became %q", event, data, out)
		}
	})
}

func TestManyShortLinesAreReadInLinearTime(t *testing.T) {
	event := []byte(strings.Repeat("data:x\r", 1<<20))
	data, ok := message.Data(nil, event)
	if !ok || len(data) != 2<<20-1 {
		t.Errorf("%d bytes", len(data))
	}
}
