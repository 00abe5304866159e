package backup

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"slices"
	"time"

	"github.com/hopgate/hopgate/controlplane/secret"
	"github.com/hopgate/hopgate/controlplane/store/etcdstore"
)

// Take writes what a store holds to w. The store is attached or open. The error wraps store.ErrCompacted when etcd forgot the revision
// meanwhile: then what was written is useless, and Take may be tried again. A store that lacks a part of what it should hold is an error.
func Take(ctx context.Context, s *etcdstore.Store, w io.Writer, program string) (Header, error) {
	d, err := s.Dump(ctx)
	if err != nil {
		return Header{}, err
	}
	h := Header{Program: program, Epoch: d.Epoch, Revision: d.Revision, Time: time.Now().UTC().Truncate(time.Millisecond), Objects: d.Objects}
	if h.KEKs, err = sealers(ctx, d); err != nil {
		return h, err
	}
	out, err := newWriter(w, h)
	if err != nil {
		return h, err
	}
	c := newChecker(h, nil)
	err = d.Records(ctx, func(r etcdstore.Record) error {
		if err := c.take(r); err != nil {
			return err
		}
		return out.put(r)
	})
	if err != nil {
		return h, err
	}
	if err := c.whole(); err != nil {
		return h, fmt.Errorf("the store is damaged, a copy of it would be of no use: %w", err)
	}
	return h, out.close()
}

// sealers are the IDs of the keys that sealed what is in force.
func sealers(ctx context.Context, d *etcdstore.Dump) ([]string, error) {
	ids := []string{}
	for _, kind := range [...]string{secret.KindRing, secret.KindSecret} {
		heads, err := d.Heads(ctx, kind)
		if err != nil {
			return nil, err
		}
		for _, h := range heads {
			id, err := secret.SealedBy(h.Object)
			if err != nil {
				return nil, err
			}
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// writer writes one file.
type writer struct {
	out     *bufio.Writer
	sum     hash.Hash
	both    io.Writer
	buf     []byte
	records uint64
}

func newWriter(w io.Writer, h Header) (*writer, error) {
	out := &writer{out: bufio.NewWriterSize(w, 1<<16), sum: sha256.New()}
	out.both = io.MultiWriter(out.out, out.sum)
	text, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("encode header: %w", err)
	}
	_, err = fmt.Fprintf(out.both, "%s%d\n%s\n", title, Format, text)
	return out, err
}

func (w *writer) put(r etcdstore.Record) error {
	if len(r.Key) > keyLimit || len(r.Value) > valueLimit {
		return fmt.Errorf("%.100s: key of %d bytes with a value of %d; a snapshot takes %d and %d", r.Key, len(r.Key), len(r.Value), keyLimit, valueLimit)
	}
	w.records++
	w.buf = append(binary.AppendUvarint(w.buf[:0], uint64(len(r.Key))), r.Key...)
	w.buf = append(binary.AppendUvarint(w.buf, uint64(len(r.Value))), r.Value...)
	_, err := w.both.Write(w.buf)
	return err
}

func (w *writer) close() error {
	if _, err := w.both.Write(binary.AppendUvarint([]byte{0}, w.records)); err != nil {
		return err
	}
	if _, err := w.out.Write(w.sum.Sum(nil)); err != nil {
		return err
	}
	return w.out.Flush()
}
