package backup

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"strings"

	"github.com/hopgate/hopgate/controlplane/store/etcdstore"
)

// Reader reads one file. What it returns is only known to be intact when Next has returned io.EOF.
type Reader struct {
	// Header of the file.
	Header Header
	// Sum is the checksum; after io.EOF.
	Sum [sha256.Size]byte

	in      *bufio.Reader
	sum     hash.Hash
	at      int64 // bytes read
	records uint64
	last    string
	failed  error // what every further Next returns
}

// NewReader reads the header. Errors wrap ErrFormat or ErrDamaged, or are those of in.
func NewReader(in io.Reader) (*Reader, error) {
	r := &Reader{in: bufio.NewReaderSize(in, 1<<16), sum: sha256.New()}
	if err := r.title(); err != nil {
		return nil, err
	}
	text, err := r.line(headerLimit)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal([]byte(text), &r.Header); err != nil {
		return nil, r.damaged("its header is no JSON")
	}
	return r, r.Header.check()
}

func (r *Reader) title() error {
	line, err := r.line(len(title) + 8)
	if errors.Is(err, ErrDamaged) && r.at > 0 && strings.HasPrefix(title, line[:min(len(line), len(title))]) {
		return err // cut off in its title
	}
	if err != nil && !errors.Is(err, ErrDamaged) {
		return err
	}
	format, ok := strings.CutPrefix(line, title)
	n, bad := strconv.Atoi(format)
	switch {
	case !ok || bad != nil:
		return fmt.Errorf("%w: it doesn't begin like one", ErrFormat)
	case n != Format:
		return fmt.Errorf("%w: it has format %d, this version reads %d; use the version of hopgate that wrote it", ErrFormat, n, Format)
	}
	return nil
}

// line reads up to a newline, which isn't returned; on an error what there was.
func (r *Reader) line(limit int) (string, error) {
	var line []byte
	for len(line) < limit {
		b, err := r.ReadByte()
		if err != nil {
			return string(line), r.cut(err)
		}
		if b == '\n' {
			return string(line), nil
		}
		line = append(line, b)
	}
	return string(line), r.damaged("a line is too long")
}

// ReadByte reads a byte that the checksum covers.
func (r *Reader) ReadByte() (byte, error) {
	b, err := r.in.ReadByte()
	if err != nil {
		return 0, err
	}
	r.at++
	r.sum.Write([]byte{b})
	return b, nil
}

// Next returns the next record; io.EOF after the last one of an intact file. Other errors wrap ErrDamaged, or are those of the input.
func (r *Reader) Next() (etcdstore.Record, error) {
	if r.failed != nil {
		return etcdstore.Record{}, r.failed
	}
	rec, err := r.next()
	r.failed = err
	return rec, err
}

func (r *Reader) next() (rec etcdstore.Record, err error) {
	key, err := r.field(keyLimit)
	if err != nil {
		return rec, err
	}
	if len(key) == 0 {
		return rec, r.end()
	}
	if rec.Key = string(key); !etcdstore.Lasting(rec.Key) {
		return rec, r.damaged("it holds a key that no snapshot has")
	}
	if order(rec.Key) <= order(r.last) && r.records > 0 {
		return rec, r.damaged("its records aren't in order")
	}
	r.last = rec.Key
	r.records++
	rec.Value, err = r.field(valueLimit)
	return rec, err
}

// order is what records are in the order of.
func order(key string) string {
	if strings.HasPrefix(key, "spec/") {
		return "0" + key
	}
	return "1" + key
}

func (r *Reader) field(limit uint64) ([]byte, error) {
	n, err := r.number()
	if err != nil {
		return nil, err
	}
	if n > limit {
		return nil, r.damaged("a record is too long")
	}
	b := make([]byte, n)
	got, err := io.ReadFull(r.in, b)
	r.at += int64(got)
	if err != nil {
		return nil, r.cut(err)
	}
	r.sum.Write(b)
	return b, nil
}

func (r *Reader) number() (uint64, error) {
	var input error
	n, err := binary.ReadUvarint(byteFunc(func() (b byte, err error) { b, input = r.ReadByte(); return b, input }))
	switch {
	case input != nil:
		return 0, r.cut(input)
	case err != nil:
		return 0, r.damaged("a length is no number")
	}
	return n, nil
}

type byteFunc func() (byte, error)

// ReadByte calls the function.
func (f byteFunc) ReadByte() (byte, error) { return f() }

func (r *Reader) end() error {
	n, err := r.number()
	if err != nil {
		return err
	}
	want := r.sum.Sum(nil)
	if _, err := io.ReadFull(r.in, r.Sum[:]); err != nil {
		return r.cut(err)
	}
	if !bytes.Equal(want, r.Sum[:]) {
		return r.damaged("its checksum is another one")
	}
	if _, err := r.in.ReadByte(); !errors.Is(err, io.EOF) {
		if err != nil {
			return err
		}
		return r.damaged("something follows its end")
	}
	if n != r.records {
		return r.damaged("it doesn't hold as many records as it says")
	}
	return io.EOF
}

func (r *Reader) damaged(what string) error {
	return fmt.Errorf("%w: at byte %d: %s", ErrDamaged, r.at, what)
}

// cut tells a file that ends too soon from one that can't be read.
func (r *Reader) cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return r.damaged("it ends here")
	}
	return fmt.Errorf("read the snapshot at byte %d: %w", r.at, err)
}
