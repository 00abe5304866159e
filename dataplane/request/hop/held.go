package hop

import (
	"bytes"
	"io"

	"github.com/hopgate/hopgate/dataplane/request/hop/balance"
	"github.com/hopgate/hopgate/dataplane/request/hop/transport"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/proto/fault"
)

// held is the body of a call that counts until it is closed.
type held struct {
	Body
	lease   balance.Lease
	view    *balance.Server
	limited bool
	closed  bool
}

// Close ends the exchange and gives its place back, once.
func (b *held) Close() {
	b.Body.Close()
	if b.closed {
		return
	}
	b.closed = true
	b.lease.Release()
	if b.limited {
		b.view.Exit()
	}
}

// foreign reports whether a 502, 503 or 504 was written by something that isn't an MCP server, and says no time to come back. What it reads to
// find out stays in the answer.
func (a *Answer) foreign() bool {
	if a.Header.Get("Retry-After") != "" {
		return false
	}
	if a.Type != transport.JSON {
		return true
	}
	data, err := a.ReadAll(nil, refusalLimit)
	a.Body = &known{Body: a.Body, data: data, err: err}
	return err != nil || !message.IsError(data)
}

// known is a body that was read already.
type known struct {
	Body
	data []byte
	err  error // behind data; nil: its end
}

func (b *known) end() error {
	if b.err != nil {
		return b.err
	}
	return io.EOF
}

func (b *known) Read(p []byte) (int, error) {
	if len(b.data) == 0 {
		return 0, b.end()
	}
	n := copy(p, b.data)
	b.data = b.data[n:]
	return n, nil
}

func (b *known) ReadAll(dst []byte, limit int64) ([]byte, error) {
	if limit > 0 && int64(len(b.data)) > limit {
		return dst, &fault.Error{Hop: fault.Upstream, Phase: fault.Body, Kind: fault.TooLarge,
			Message: "the upstream's answer is larger than the limit for results", Hint: "have the server send less, or raise the result limit"}
	}
	dst, b.data = append(dst, b.data...), b.data[len(b.data):]
	return dst, b.err
}

func (b *known) NextEvent(dst []byte, limit int64) ([]byte, error) {
	if len(bytes.TrimSpace(b.data)) == 0 {
		return dst, b.end()
	}
	return b.ReadAll(dst, limit)
}
