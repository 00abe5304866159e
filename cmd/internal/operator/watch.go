package operator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"

	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

// Watch writes every event as one line, Text or JSON, until ctx ends; then it returns nil. begun is called once nothing is missed any more.
func Watch(ctx context.Context, c adminv1.AdminServiceClient, format string, w io.Writer, begun func()) error {
	st, err := c.WatchEvents(ctx, &adminv1.WatchEventsRequest{})
	if err == nil {
		err = begins(st, begun)
	}
	for err == nil {
		var e *adminv1.WatchEventsResponse
		if e, err = st.Recv(); err == nil {
			if err := printEvent(w, format, e); err != nil {
				return err
			}
		}
	}
	switch {
	case ctx.Err() != nil:
		return nil //nolint:nilerr // that is how it ends
	case errors.Is(err, io.EOF):
		return errors.New("the control plane ended the watch; watch again")
	}
	return Explain(err)
}

// begins waits until a watch has begun. One that is refused doesn't say so, it ends.
func begins(st adminv1.AdminService_WatchEventsClient, begun func()) error {
	header, err := st.Header()
	if err == nil && len(header.Get("x-hopgate-watch")) == 0 {
		_, err = st.Recv()
		return err
	}
	if err == nil {
		begun()
	}
	return err
}

func printEvent(w io.Writer, format string, e *adminv1.WatchEventsResponse) error {
	if format == JSON {
		b, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(e)
		if err != nil {
			return err
		}
		var line bytes.Buffer
		if err := json.Compact(&line, b); err != nil { // protojson varies its white space on purpose
			return err
		}
		_, err = fmt.Fprintln(w, line.String())
		return err
	}
	_, err := fmt.Fprintln(w, clean(eventLine(e)))
	return err
}

// eventLine is an event as people read it.
func eventLine(e *adminv1.WatchEventsResponse) string {
	switch e := e.GetEvent().(type) {
	case *adminv1.WatchEventsResponse_Change:
		c := e.Change
		line := fmt.Sprintf("%s change %s by %s: %s", clock(c.GetTime()), c.GetId(), c.GetAuthor(), deedsOf(c, ""))
		if c.GetMessage() != "" {
			line += " (" + c.GetMessage() + ")"
		}
		return line
	case *adminv1.WatchEventsResponse_Node:
		n := e.Node
		if !n.GetConnected() {
			return "node " + n.GetNode() + " gone"
		}
		line := fmt.Sprintf("node %s %s at revision %d", n.GetNode(), nodeState(n), n.GetRevision())
		if n.GetRefused() != "" {
			line += ", took nothing of its newest update: " + n.GetRefused()
		}
		if words := refused(n); words != "" {
			line += ", refuses " + words
		}
		return line
	case *adminv1.WatchEventsResponse_Missed:
		return fmt.Sprintf("missed %d events: hopgate history and hopgate status show what there is", e.Missed.GetEvents())
	}
	return "an event that this program doesn't know"
}

// refused are the objects that a data plane refuses, the first few.
func refused(n *adminv1.Node) string {
	var words []string
	for _, r := range n.GetRejected() {
		if r.GetRejected() {
			words = append(words, r.GetKind()+"/"+r.GetName())
		}
	}
	if more := len(words) - mostDeeds; more > 0 {
		words = append(words[:mostDeeds], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(words, ",")
}
