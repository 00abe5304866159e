package stream

import (
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/controlplane/view"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

// inlineMost bounds what is handed over without another goroutine while the data plane hasn't shown that it got it, by an answer with a digest
// that only the update told it: gRPC blocks a send only when 64 KiB of the stream wait to be written.
const inlineMost = 32 << 10

// message is what is to be sent: a message of its own, or a part of an update.
type message struct {
	plain *syncv1.SyncResponse // nil: a part of an update

	update *view.Update
	part   int
	nonce  uint64
	trace  []byte // further fields of the part, encoded; shared
}

// say queues a message of its own.
func (s *session) say(m *syncv1.SyncResponse) { s.queue = append(s.queue, message{plain: m}) }

// size is how many bytes the message takes, within a few; a part that can't be encoded takes none, and its send fails.
func (m *message) size() int {
	if m.plain != nil {
		return proto.Size(m.plain)
	}
	b, err := m.update.Encoded(m.part)
	if err != nil {
		return 0
	}
	return len(b) + len(m.trace) + protowire.SizeVarint(m.nonce)
}

// send blocks while the data plane doesn't take what was sent before.
func (s *session) send(m message) error {
	if m.plain != nil {
		return s.stream.Send(m.plain)
	}
	f, err := m.frame()
	if err != nil {
		return err
	}
	return s.stream.SendMsg(f)
}

// frame is a SyncResponse in wire format, in pieces.
type frame struct{ pieces mem.BufferSlice }

// Numbers of fields in SyncResponse and Update.
const (
	updateField = 2
	nonceField  = 1
)

// frame puts the part, which all streams share, between what is this stream's own: the length of the whole, and the nonce.
func (m *message) frame() (*frame, error) {
	body, err := m.update.Encoded(m.part)
	if err != nil {
		return nil, err
	}
	nonce := protowire.SizeTag(nonceField) + protowire.SizeVarint(m.nonce)
	own := make([]byte, 0, 32)
	own = protowire.AppendTag(own, updateField, protowire.BytesType)
	own = protowire.AppendVarint(own, uint64(nonce+len(body)+len(m.trace)))
	own = protowire.AppendTag(own, nonceField, protowire.VarintType)
	own = protowire.AppendVarint(own, m.nonce)
	f := &frame{pieces: mem.BufferSlice{mem.SliceBuffer(own), mem.SliceBuffer(body)}}
	if len(m.trace) > 0 {
		f.pieces = append(f.pieces, mem.SliceBuffer(m.trace))
	}
	return f, nil
}

// codec is gRPC's for protobuf that also takes frames.
type codec struct{ encoding.CodecV2 }

// Marshal returns the wire format of a message.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if f, ok := v.(*frame); ok {
		return f.pieces, nil
	}
	return c.CodecV2.Marshal(v)
}
