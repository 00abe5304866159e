package gather

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hopgate/hopgate/dataplane/request/message"
)

// Greeting is what several servers say of themselves, for an answer to initialize or server/discover.
type Greeting struct {
	// Revision that an initialize result settles on.
	Revision string
	// Versions that a discover result offers; empty: message.ModernRevisions.
	Versions []string
	// Agent is the gateway's name and version, "hopgate/1.2.3".
	Agent string
	// Parts are the servers that answered, in the order of names.
	Parts []Part
	// Incomplete: there are more servers than these, which nobody has asked.
	Incomplete bool
	// ToolsOnly: nothing but tools is open on the endpoint.
	ToolsOnly bool
	Outcomes  []Outcome
}

// Part is what one server says of itself.
type Part struct {
	Server string
	Hello  message.Hello
}

const (
	// maxInstructions bounds the merged instructions, in bytes.
	maxInstructions = 64 << 10
	// helloTTL is how long an answer to server/discover may be kept when all servers gave theirs; shortTTL when something is missing.
	helloTTL = time.Minute
	shortTTL = 5 * time.Second
)

// whenMissing are the capabilities of servers that didn't answer: what they have, nobody knows, and clients must go on asking for it.
var whenMissing = []byte(`{"tools":{"listChanged":true},"prompts":{"listChanged":true},"resources":{"listChanged":true}}`)

// AppendInitialize appends the response to initialize (MCP up to 2025-11-25). Capabilities are the union; when any server is missing, or all
// are, tools, prompts and resources are among them.
func AppendInitialize(dst, id []byte, h Greeting) []byte {
	dst = appendHead(dst, id)
	dst = append(dst, `"protocolVersion":`...)
	dst = message.AppendQuoted(dst, h.Revision)
	dst = h.appendCapabilities(dst)
	dst = append(dst, `,"serverInfo":`...)
	dst = appendAgent(dst, h.Agent)
	dst = h.appendInstructions(dst)
	dst = append(dst, `,"_meta":{`...)
	dst = appendMeta(dst, h.Outcomes)
	return append(dst, "}}}"...)
}

// AppendDiscover appends the response to server/discover (MCP 2026-07-28). It may be kept for a minute, for 5 s when something is missing, and
// by the caller alone, since it says what this caller may reach.
func AppendDiscover(dst, id []byte, h Greeting) []byte {
	dst = appendHead(dst, id)
	dst = append(dst, `"resultType":"complete","supportedVersions":[`...)
	versions := h.Versions
	if len(versions) == 0 {
		versions = message.ModernRevisions()
	}
	for i, v := range versions {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = message.AppendQuoted(dst, v)
	}
	dst = append(dst, ']')
	dst = h.appendCapabilities(dst)
	dst = h.appendInstructions(dst)
	ttl := helloTTL
	if h.missing() {
		ttl = shortTTL
	}
	dst = append(dst, `,"ttlMs":`...)
	dst = strconv.AppendInt(dst, ttl.Milliseconds(), 10)
	dst = append(dst, `,"cacheScope":"private","_meta":{"io.modelcontextprotocol/serverInfo":`...)
	dst = appendAgent(dst, h.Agent)
	dst = append(dst, ',')
	dst = appendMeta(dst, h.Outcomes)
	return append(dst, "}}}"...)
}

func (h *Greeting) missing() bool { return h.Incomplete || len(h.Parts) == 0 || !allOK(h.Outcomes) }

func (h *Greeting) appendCapabilities(dst []byte) []byte {
	list := make([][]byte, 0, len(h.Parts)+1)
	for i := range h.Parts {
		if c := h.Parts[i].Hello.Capabilities; len(c) > 0 {
			list = append(list, c)
		}
	}
	if h.missing() {
		list = append(list, whenMissing)
	}
	dst = append(dst, `,"capabilities":`...)
	if h.ToolsOnly {
		return message.MergeCapabilities(dst, list, "prompts", "resources", "completions")
	}
	return message.MergeCapabilities(dst, list)
}

func appendAgent(dst []byte, agent string) []byte {
	name, version, _ := strings.Cut(agent, "/")
	dst = append(dst, `{"name":`...)
	dst = message.AppendQuoted(dst, name)
	dst = append(dst, `,"version":`...)
	dst = message.AppendQuoted(dst, version)
	return append(dst, '}')
}

// appendInstructions appends the instructions of all servers, each under its name. Where they are too long together, the longest are cut, so
// that one server can't take the room of the others.
func (h *Greeting) appendInstructions(dst []byte) []byte {
	var heads, texts int
	for i := range h.Parts {
		if n := len(h.Parts[i].Hello.Instructions); n > 0 {
			heads += len("## \n\n\n") + len(h.Parts[i].Server)
			texts++
		}
	}
	if texts == 0 {
		return dst
	}
	most := h.share(max(0, maxInstructions-heads))
	var b strings.Builder
	for i := range h.Parts {
		text := cut(h.Parts[i].Hello.Instructions, most)
		if text == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteString("\n\n")
		}
		b.WriteString("## " + h.Parts[i].Server + "\n" + text)
	}
	dst = append(dst, `,"instructions":`...)
	return message.AppendQuoted(dst, b.String())
}

// share returns how long each server's instructions may be so that all together fit into room: the largest number that does.
func (h *Greeting) share(room int) int {
	low, high := 0, room
	for low < high {
		try, sum := (low+high+1)/2, 0
		for i := range h.Parts {
			sum += min(try, len(h.Parts[i].Hello.Instructions))
		}
		if sum <= room {
			low = try
		} else {
			high = try - 1
		}
	}
	return low
}

// cut returns at most n bytes of s, whole characters.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
