package api

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"time"

	"google.golang.org/protobuf/proto"

	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

// writeMost is how long one write to a watcher may take before the watch is cut.
const writeMost = 30 * time.Second

// watch is the REST face of a watch: server-sent events. The caller was admitted.
func (f *front) watch(w http.ResponseWriter, r *http.Request, tr *trail) {
	s := &sse{w: w, ctl: http.NewResponseController(w)}
	defer s.ctl.SetWriteDeadline(time.Time{}) //nolint:errcheck // for the next call on the connection
	err := f.desk.watch(r.Context(), watcher{
		begin: s.begin,
		send:  s.send,
		idle:  func() error { return s.write([]byte(": alive\n\n")) },
		allowed: func() error {
			_, err := f.guard.admit(func(name string) []string { return r.Header.Values(name) }, &trail{method: tr.method})
			return err
		},
	})
	if r.Context().Err() != nil || s.failed || s.begun && errors.Is(err, errClosing) {
		return
	}
	if s.begun {
		f.guard.audit(r.Context(), tr, err)
		return
	}
	f.refuse(w, r, tr, err)
}

// sse writes server-sent events.
type sse struct {
	w      http.ResponseWriter
	ctl    *http.ResponseController
	begun  bool
	failed bool // the caller is gone
}

func (s *sse) begin() error {
	s.begun = true
	s.w.Header().Set("Content-Type", "text/event-stream")
	s.w.WriteHeader(http.StatusOK)
	return s.write([]byte(": watching\n\n"))
}

func (s *sse) send(e *adminv1.WatchEventsResponse) error {
	var b bytes.Buffer
	var m proto.Message
	switch e := e.GetEvent().(type) {
	case *adminv1.WatchEventsResponse_Change:
		m = e.Change
		fmt.Fprintf(&b, "event: change\nid: %s\n", e.Change.GetId())
	case *adminv1.WatchEventsResponse_Node:
		m = e.Node
		b.WriteString("event: node\n")
	case *adminv1.WatchEventsResponse_Missed:
		m = e.Missed
		b.WriteString("event: missed\n")
	}
	data, err := (&face{}).Marshal(m) // one line, with its end
	if err != nil {
		return err
	}
	fmt.Fprintf(&b, "data: %s\n", data)
	return s.write(b.Bytes())
}

func (s *sse) write(b []byte) error {
	// Not every writer has deadlines; without one a watcher that doesn't read holds its own watch only.
	_ = s.ctl.SetWriteDeadline(time.Now().Add(writeMost))
	_, err := s.w.Write(b)
	if err == nil {
		err = s.ctl.Flush()
	}
	s.failed = err != nil
	return err
}
