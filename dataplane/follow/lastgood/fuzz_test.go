package lastgood

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/confset"
)

// FuzzLoad reads anything as a generation: once as the raw file, and once as the content of properly sealed records, which no damage on
// disk can produce but a bug or another version may.
func FuzzLoad(f *testing.F) {
	s, err := newSealer(make([]byte, keySize))
	if err != nil {
		f.Fatal(err)
	}
	plain, _ := everyKind()
	f.Add(plain)
	f.Add(sealAll(s, plain))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, file := range [][]byte{data, sealAll(s, data)} {
			res, end, err := s.play(file)
			if err != nil {
				continue
			}
			if end.at > len(file) || res.good.set != nil && res.good.set.Digest() != res.good.version.Digest {
				t.Errorf("a set that isn't what its version says, or an end at %d of %d", end.at, len(file))
			}
		}
	})
}

// sealAll makes a generation file of records that have their length in front as two bytes.
func sealAll(s sealer, data []byte) []byte {
	var id [idSize]byte
	file := append([]byte(magic), id[:]...)
	for seq := uint64(0); len(data) >= 2; seq++ {
		n := min(int(binary.BigEndian.Uint16(data)), len(data)-2)
		sealed := s.aead.Seal(nil, nil, data[2:2+n], place(id, seq))
		file = append(binary.BigEndian.AppendUint32(file, uint32(len(sealed))), sealed...)
		data = data[2+n:]
	}
	return file
}

// Every offset and every bit of a file with every kind of record: what comes out is a config that was once good, or none.
func TestDamageAtEveryByte(t *testing.T) {
	s, err := newSealer(make([]byte, keySize))
	if err != nil {
		t.Fatal(err)
	}
	plain, good := everyKind()
	file := sealAll(s, plain)
	check := func(what string, data []byte) {
		res, end, err := s.play(data)
		if err == nil && (end.at > len(data) || res.good.set != nil && !good[res.good.version]) {
			t.Errorf("%s: good is %+v, the end at %d of %d", what, res.good.version, end.at, len(data))
		}
	}
	if res, end, err := s.play(file); err != nil || end.at != len(file) || !res.clean || res.pending.set == nil {
		t.Fatalf("undamaged: %+v, end at %d of %d, %v", res, end.at, len(file), err)
	}
	for n := range file {
		check(fmt.Sprint("cut at ", n), file[:n])
		for bit := range 8 {
			file[n] ^= 1 << bit
			check(fmt.Sprint("flipped at ", n), file)
			file[n] ^= 1 << bit
		}
	}
}

// everyKind returns records of every kind, each with its length in front as two bytes, and the versions that are good in them.
func everyKind() (plain []byte, good map[table.Version]bool) {
	set, recs := confset.Empty(), []record{}
	version := func(name string, rev int64) (confset.Delta, table.Version) {
		d := confset.Delta{Upserts: []confset.Object{confset.NewObject(confset.Key{Kind: "server", Name: name}, "uid", []byte("body"))}}
		set = set.Apply(d)
		return d, table.Version{Revision: rev, Epoch: "e", Digest: set.Digest()}
	}
	d1, v1 := version("a", 1)
	d2, v2 := version("b", 2)
	d3, v3 := version("c", 3)
	recs = append(recs, record{kind: kindObjects, upserts: d1.Upserts}, record{kind: kindBase, version: v1})
	recs = append(recs, record{kind: kindPart, upserts: d2.Upserts}, record{kind: kindDelta, version: v2}, record{kind: kindGood, version: v2})
	recs = append(recs, deltaRecords(d3, v3)...)
	recs = append(recs, record{kind: kindBoot}, record{kind: kindRollback}, record{kind: kindSuspect, version: v3, tries: 1}, record{kind: kindSuspect})
	recs = append(append(recs, deltaRecords(d3, v3)...), record{kind: kindClean})
	for _, r := range recs {
		b := r.encode(nil)
		plain = append(binary.BigEndian.AppendUint16(plain, uint16(len(b))), b...)
	}
	return plain, map[table.Version]bool{v1: true, v2: true}
}

func TestRecordsComeBackAsTheyWere(t *testing.T) {
	in := record{kind: kindDelta, version: table.Version{Revision: -3, Epoch: "é", Digest: confset.Digest{1, 2}}, tries: 300,
		upserts:  []confset.Object{confset.NewObject(confset.Key{Kind: "k", Name: "n"}, "u", []byte{0, 1})},
		removals: []confset.Key{{Kind: "x", Name: ""}}}
	b := in.encode(nil)
	out, err := decode(b)
	if err != nil || string(out.encode(nil)) != string(b) || out.version != in.version || out.tries != 300 {
		t.Errorf("got %+v, %v", out, err)
	}
	for n := range b {
		if _, err := decode(b[:n]); err == nil {
			t.Errorf("the first %d of %d bytes pass as a record", n, len(b))
		}
	}
}
