package store

import (
	"errors"
	"fmt"
	"strings"

	"github.com/hopgate/hopgate/proto/confset"
	"github.com/oklog/ulid/v2"
)

// requestIDBytes bounds a request id: it becomes a key of the store.
const requestIDBytes = 256

// Check reports what is wrong with the shape of a write before anything is sent: a malformed id or key, a body that isn't what its hash says,
// a key without exactly one precondition, or (as *LimitError) more than limits allow. Every implementation calls it first.
func (w *Write) Check(limits Limits) error {
	if _, err := ulid.ParseStrict(w.Record.ID); err != nil {
		return fmt.Errorf("write: record.id %q: %w; use a ULID", w.Record.ID, err)
	}
	if len(w.RequestID) > requestIDBytes {
		return &LimitError{What: "bytes in a request id", Asked: len(w.RequestID), Limit: requestIDBytes}
	}
	if w.Fence != (Fence{}) && (w.Fence.Key == "" || w.Fence.Created < 1) {
		return errors.New("write: fence has only one of key and revision; take it from a note as it is")
	}
	if err := w.checkSize(limits); err != nil {
		return err
	}
	for i := range w.Puts {
		if err := checkHead(&w.Puts[i]); err != nil {
			return err
		}
	}
	return w.checkPreconditions()
}

func (w *Write) checkSize(limits Limits) error {
	n := max(len(w.Puts)+len(w.Deletes), len(w.Expect))
	if len(w.Puts)+len(w.Deletes) == 0 {
		return errors.New("write: puts and deletes are empty; a change holds at least one object")
	}
	if n > limits.Objects {
		return &LimitError{What: "objects in a change", Asked: n, Limit: limits.Objects, Flag: limits.Flag}
	}
	for i := range w.Puts {
		if size := len(w.Puts[i].Object.Body); size > limits.Bytes {
			return &LimitError{What: "bytes in an object", Asked: size, Limit: limits.Bytes}
		}
	}
	return nil
}

func checkHead(h *Head) error {
	switch key := h.Object.Key; {
	case h.Object.UID == "":
		return fmt.Errorf("write: %s: uid is empty; set one", key)
	case h.Generation < 1:
		return fmt.Errorf("write: %s: generation is %d; it counts from 1", key, h.Generation)
	case !h.Object.Intact():
		return fmt.Errorf("write: %s: hash isn't the hash of the body; build the object with confset.NewObject", key)
	}
	return nil
}

func (w *Write) checkPreconditions() error {
	expected := make(map[confset.Key]int64, len(w.Expect))
	for _, p := range w.Expect {
		if err := CheckKey(p.Key); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		if _, twice := expected[p.Key]; twice {
			return fmt.Errorf("write: %s has two preconditions; give one", p.Key)
		}
		expected[p.Key] = p.Revision
	}
	seen := make(map[confset.Key]struct{}, len(w.Puts)+len(w.Deletes))
	for key := range w.keys {
		if _, ok := expected[key]; !ok {
			return fmt.Errorf("write: %s has no precondition; give one, blind writes are refused", key)
		}
		if _, twice := seen[key]; twice {
			return fmt.Errorf("write: %s is written twice; write it once", key)
		}
		seen[key] = struct{}{}
	}
	for _, key := range w.Deletes {
		if expected[key] == 0 {
			return fmt.Errorf("write: %s is deleted but expected to be absent; expect the revision that is deleted", key)
		}
	}
	return nil
}

// keys yields every key that the write touches.
func (w *Write) keys(yield func(confset.Key) bool) {
	for i := range w.Puts {
		if !yield(w.Puts[i].Object.Key) {
			return
		}
	}
	for _, key := range w.Deletes {
		if !yield(key) {
			return
		}
	}
}

// CheckKey refuses keys that a hierarchical store couldn't hold: an empty kind or name, a slash or a control character in either.
func CheckKey(key confset.Key) error {
	for _, part := range [...]struct{ field, value string }{{"kind", key.Kind}, {"name", key.Name}} {
		if part.value == "" || len(part.value) > 253 {
			return fmt.Errorf("key %q: %s has %d bytes; 1 to 253 are possible", key, part.field, len(part.value))
		}
		if i := strings.IndexFunc(part.value, func(r rune) bool { return r == '/' || r < ' ' || r == 0x7f }); i >= 0 {
			return fmt.Errorf("key %q: %s has a slash or control character at byte %d; remove it", key, part.field, i)
		}
	}
	return nil
}

// NoteBytes is how large a note of a meeting may be.
const NoteBytes = 64 << 10

// CheckNote refuses a note that is too large with a *LimitError. Every implementation calls it first.
func CheckNote(text []byte) error {
	if len(text) > NoteBytes {
		return &LimitError{What: "bytes in a control plane's note", Asked: len(text), Limit: NoteBytes}
	}
	return nil
}
