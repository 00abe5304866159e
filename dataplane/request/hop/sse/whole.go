package sse

import (
	"errors"
	"io"
)

// whole is a body that is here already.
type whole struct {
	data   []byte
	length int64
	server string
}

// Read reads on.
func (b *whole) Read(p []byte) (int, error) {
	if len(b.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p, b.data)
	b.data = b.data[n:]
	return n, nil
}

// ReadAll appends what is left.
func (b *whole) ReadAll(dst []byte, limit int64) ([]byte, error) {
	if limit > 0 && int64(len(b.data)) > limit {
		return dst, resultTooLarge(b.server)
	}
	dst, b.data = append(dst, b.data...), nil
	return dst, nil
}

// NextEvent returns what is left as if it were an event.
func (b *whole) NextEvent(dst []byte, limit int64) ([]byte, error) {
	if len(b.data) == 0 {
		return dst, io.EOF
	}
	return b.ReadAll(dst, limit)
}

// Length is that of the whole body.
func (b *whole) Length() int64 { return b.length }

// Close does nothing.
func (b *whole) Close() {}

// direct is a body whose end is to be told, once.
type direct struct {
	Body
	done func()
}

// Close ends the exchange.
func (b *direct) Close() {
	b.Body.Close()
	if b.done != nil {
		b.done()
		b.done = nil
	}
}

// stream is what bodies made of events have in common.
type stream struct {
	next func(dst []byte, limit int64) ([]byte, error)
	rest []byte
}

func (b *stream) Read(p []byte) (int, error) {
	if len(b.rest) == 0 {
		var err error
		if b.rest, err = b.next(b.rest[:0], 0); err != nil {
			return 0, err
		}
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

func (b *stream) ReadAll(dst []byte, limit int64) ([]byte, error) {
	start := len(dst)
	for {
		var err error
		dst, err = b.next(dst, limit)
		switch {
		case errors.Is(err, io.EOF):
			return dst, nil
		case err != nil:
			return dst, err
		case limit > 0 && int64(len(dst)-start) > limit:
			return dst[:start], resultTooLarge("")
		}
	}
}

// appendEvent appends an event within the limit.
func appendEvent(dst, event []byte, limit int64, server string) ([]byte, error) {
	if limit > 0 && int64(len(event)) > limit {
		return dst, eventTooLarge(server)
	}
	return append(dst, event...), nil
}
