package message_test

import (
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/request/message"
)

func TestDataOfAnEvent(t *testing.T) {
	for _, c := range []struct {
		name, event, data, id string
		ok                    bool
	}{
		{"message", "event: message\ndata: {\"a\":1}\n\n", `{"a":1}`, "", true},
		{"without a name", "data: {}\n\n", `{}`, "", true},
		{"without a blank", "data:{}\nid:5\n\n", `{}`, "5", true},
		{"two blanks", "data:  {}\n\n", ` {}`, "", true},
		{"CRLF", "id: 7\r\nevent: message\r\ndata: {}\r\n\r\n", `{}`, "7", true},
		{"CR", "id: 7\rdata: [\rdata: ]\r\r", "[\n]", "7", true},
		{"several lines", "data: {\ndata: \"a\":1\ndata:}\n\n", "{\n\"a\":1\n}", "", true},
		{"several lines, one of them empty", "data: a\ndata\ndata: b\n\n", "a\n\nb", "", true},
		{"comment", ": ping\n\n", ``, "", false},
		{"priming event", "id: 1\ndata: \n\n", ``, "1", false},
		{"priming event without data", "id: 1\nretry: 500\n\n", ``, "1", false},
		{"other fields", "database: x\nidea: y\ndata-x: z\n\n", ``, "", false},
		{"last id counts", "id: 1\nid: 2\ndata: {}\n\n", `{}`, "2", true},
		{"id with NUL", "id: 1\x002\ndata: {}\n\n", `{}`, "", true},
		{"byte order mark", "\xef\xbb\xbfdata: {}\n\n", `{}`, "", true},
		{"not ended", "data: {}", `{}`, "", true},
		{"nothing", "", ``, "", false},
	} {
		data, ok := message.Data(nil, []byte(c.event))
		if string(data) != c.data || ok != c.ok {
			t.Errorf("%s: data %q %v, want %q %v", c.name, data, ok, c.data, c.ok)
		}
		if id := message.ID([]byte(c.event)); string(id) != c.id || message.HasID([]byte(c.event)) != (c.id != "") {
			t.Errorf("%s: id %q, want %q", c.name, id, c.id)
		}
	}
}

func TestDataOwnsWhatItReturns(t *testing.T) {
	event := []byte("id: a long id\ndata: {\"n\":1}\n\n")
	data, _ := message.Data(make([]byte, 0, 64), event)
	copy(event, "data: overwritten overwritten")
	data2, _ := message.Data(data[:0], []byte("data: {\ndata: }\n\n"))
	if string(data2) != "{\n}" || string(event[:7]) != "data: o" {
		t.Errorf("got %q and %q", data2, event)
	}
}

func TestDataAppends(t *testing.T) {
	if data, ok := message.Data([]byte("kept"), []byte(": comment\n\n")); string(data) != "kept" || ok {
		t.Errorf("%q %v", data, ok)
	}
}

// FuzzData compares with the definition taken word for word: normalize line ends, split, join.
func FuzzData(f *testing.F) {
	for _, s := range []string{"event: message\ndata: {}\n\n", "data: a\r\ndata:b\r\n\r\n", "data\rdata\rid: 1\r\r", ": x\n\n", "id:1\ndata:\n\n", "data: \r\n\n\r", "data\ndata\n\n", "\xef\xbb\xbfdata: x"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, event []byte) {
		var lines []string
		text := strings.ReplaceAll(strings.ReplaceAll(string(event), "\r\n", "\n"), "\r", "\n")
		for line := range strings.SplitSeq(text, "\n") {
			name, value, _ := strings.Cut(strings.TrimPrefix(line, "\ufeff"), ":")
			if name == "data" {
				lines = append(lines, strings.TrimPrefix(value, " "))
			}
		}
		want := strings.Join(lines, "\n")
		data, ok := message.Data(nil, event)
		if string(data) != want || ok != (want != "") {
			t.Fatalf("%q gives %q %v, want %q", event, data, ok, want)
		}
	})
}
