package lastgood

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
)

// A generation file is a head of 24 bytes (magic, 16 random bytes that identify the file) and sealed records, each with its length in
// front as four bytes, the most significant first.
const (
	magic    = "hopgate1"
	idSize   = 16
	headSize = len(magic) + idSize
)

// sealer is AES-256-GCM with the node's key and a random nonce per record (NIST SP 800-38D, 8.2.2: good for 2^32 records).
type sealer struct{ aead cipher.AEAD }

func newSealer(key []byte) (sealer, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return sealer{}, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return sealer{aead}, err
}

// place is what binds a record to its file and its number in it.
func place(id [idSize]byte, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(id[:], seq)
}

// journal is a generation file open for appending.
type journal struct {
	f      *os.File
	sealer sealer
	id     [idSize]byte
	seq    uint64 // of the next record
	size   int64
	buf    []byte // scratch
}

// create begins a new file; its head is written with the first records.
func create(path string, s sealer) (*journal, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	j := &journal{f: f, sealer: s}
	rand.Read(j.id[:])
	return j, nil
}

// write puts records at the end of the file without making sure that they stay.
func (j *journal) write(recs []record) error {
	b := j.buf[:0]
	if j.size == 0 {
		b = append(append(b, magic...), j.id[:]...)
	}
	seq := j.seq
	for i := range recs {
		sealed := j.sealer.aead.Seal(nil, nil, recs[i].encode(nil), place(j.id, seq))
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(sealed))), sealed...)
		seq++
	}
	if j.buf = b; cap(b) > 4*partSize {
		j.buf = nil
	}
	n, err := j.f.Write(b)
	if err != nil {
		return fmt.Errorf("%d of %d bytes written: %w", n, len(b), err)
	}
	j.seq = seq
	j.size += int64(n)
	return nil
}

// append puts records at the end of the file for good.
func (j *journal) append(recs []record) error {
	if err := j.write(recs); err != nil {
		return err
	}
	return j.f.Sync()
}

func (j *journal) close() error { return j.f.Close() }

// discard gives up a draft.
func (j *journal) discard() {
	j.f.Close()
	os.Remove(j.f.Name())
}

// errTorn is how a file ends that was cut or damaged.
var errTorn = errors.New("the file breaks off")

// scan reads the records of a file one after the other, opened and decoded, until the end or the first that isn't whole.
type scan struct {
	sealer sealer
	id     [idSize]byte
	data   []byte
	at     int    // offset behind the last whole record
	seq    uint64 // its successor's
}

func newScan(s sealer, data []byte) (*scan, error) {
	if len(data) < headSize || string(data[:len(magic)]) != magic {
		return nil, errors.New("not a file of this program, or of a newer version")
	}
	return &scan{sealer: s, data: data, at: headSize, id: [idSize]byte(data[len(magic):headSize])}, nil
}

// next returns the next record; false at the end. After it err says whether the end was where the file ends.
func (s *scan) next() (r record, ok bool, err error) {
	rest := s.data[s.at:]
	if len(rest) == 0 {
		return record{}, false, nil
	}
	if len(rest) < 4 {
		return record{}, false, errTorn
	}
	n := uint64(binary.BigEndian.Uint32(rest))
	if n > uint64(len(rest)-4) {
		return record{}, false, errTorn
	}
	plain, err := s.sealer.aead.Open(nil, nil, rest[4:4+n], place(s.id, s.seq))
	if err != nil {
		return record{}, false, errTorn
	}
	if r, err = decode(plain); err != nil {
		return record{}, false, err
	}
	s.at += 4 + int(n)
	s.seq++
	return r, true, nil
}
