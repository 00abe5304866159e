package message

import (
	"net/http"
	"strconv"

	"github.com/hopgate/hopgate/proto/fault"
)

// SplitBatch returns the messages of a batch (MCP 2025-03-26), subslices of body, unread: each is Scan's to judge. Errors are *fault.Error
// of hop=client, phase=request: -32700 for what isn't JSON, -32600 for what is no array, an empty one, or one of more than most messages.
func SplitBatch(body []byte, most int) ([][]byte, error) {
	c := cursor{b: body, limit: MaxDepth}
	if c.space(); !c.at('[') {
		return nil, invalid("a batch must be an array of messages")
	}
	var out [][]byte
	n := 0
	c.list(func(int) {
		at := c.value()
		if n++; c.fail == fine && n <= most {
			out = append(out, at.Of(body))
		}
	})
	if c.space(); c.fail == fine && c.i != len(body) {
		c.fail = syntax
	}
	switch {
	case c.fail != fine:
		return nil, c.fault()
	case n == 0:
		return nil, invalid("a batch needs at least one message")
	case n > most:
		return nil, &fault.Error{Hop: fault.Client, Phase: fault.Request, Kind: fault.TooLarge, Code: fault.CodeInvalidRequest,
			Status: http.StatusBadRequest, Message: "the batch has " + strconv.Itoa(n) + " messages; at most " + strconv.Itoa(most) + " are taken",
			Hint: "send the messages in smaller batches, or one by one"}
	}
	return out, nil
}
