package operator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/rules"
)

// Formats of output.
const (
	Table = "table"
	YAML  = "yaml"
	JSON  = "json"
	Text  = "text" // for people, where there are no rows
)

// Print writes messages in the format: a table by row, YAML documents, or JSON.
func Print(w io.Writer, format, head string, rows []proto.Message) error {
	switch format {
	case Table:
		return printTable(w, head, rows)
	case YAML:
		return printYAML(w, rows)
	case JSON:
		return printJSON(w, rows)
	}
	return fmt.Errorf("--output %q: use table, yaml or json", format)
}

func printTable(w io.Writer, head string, rows []proto.Message) error {
	lines := make([]string, len(rows))
	for i, m := range rows {
		lines[i] = row(m)
	}
	return printRows(w, head, lines)
}

// printRows writes a table; without a head when that is empty.
func printRows(w io.Writer, head string, rows []string) error {
	tw := tabwriter.NewWriter(w, 0, 4, 3, ' ', 0)
	if head != "" {
		fmt.Fprintln(tw, head)
	}
	for _, r := range rows {
		fmt.Fprintln(tw, r)
	}
	return tw.Flush()
}

func printJSON(w io.Writer, rows []proto.Message) error {
	out := make([]json.RawMessage, len(rows))
	for i, m := range rows {
		b, err := document(m)
		if err != nil {
			return err
		}
		out[i] = b
	}
	if len(out) == 1 {
		return encode(w, out[0])
	}
	return encode(w, out)
}

func printYAML(w io.Writer, rows []proto.Message) error {
	for i, m := range rows {
		b, err := document(m)
		if err != nil {
			return err
		}
		if i > 0 {
			fmt.Fprintln(w, "---")
		}
		if err := encodeYAML(w, b); err != nil {
			return err
		}
	}
	return nil
}

// encodeYAML writes JSON as one YAML document.
func encodeYAML(w io.Writer, json []byte) error {
	var n yaml.Node // keeps the order of members
	if err := yaml.Unmarshal(json, &n); err != nil {
		return err
	}
	plain(&n)
	e := yaml.NewEncoder(w)
	e.SetIndent(2)
	return e.Encode(&n)
}

// plain drops the flow style that nodes read from JSON have.
func plain(n *yaml.Node) {
	n.Style &^= yaml.FlowStyle
	if n.Kind == yaml.ScalarNode && n.Tag == "!!str" && n.Style == yaml.DoubleQuotedStyle && !strings.ContainsAny(n.Value, ":#\"'{}[]*&!|>%@`\n") && !ambiguous(n.Value) {
		n.Style = 0
	}
	for _, c := range n.Content {
		plain(c)
	}
}

// ambiguous reports whether a bare word would be read as something other than a string, by YAML 1.1 too.
func ambiguous(s string) bool {
	switch strings.ToLower(s) {
	case "y", "n", "yes", "no", "on", "off":
		return true
	}
	var v any
	if yaml.Unmarshal([]byte(s), &v) != nil {
		return true
	}
	_, ok := v.(string)
	return !ok
}

// document is the object as config files spell it: kind first.
func document(m proto.Message) ([]byte, error) {
	m = withoutValue(m)
	b, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		return nil, err
	}
	kind := kindOf(m)
	if kind == "" {
		return b, nil
	}
	rest := bytes.TrimPrefix(bytes.TrimSpace(b), []byte("{"))
	sep := ","
	if string(rest) == "}" {
		sep = ""
	}
	return append([]byte(`{"kind":"`+kind+`"`+sep), rest...), nil
}

// withoutValue makes sure that no credential is printed, whoever sent it.
func withoutValue(m proto.Message) proto.Message {
	secret, ok := m.(*configv1.Secret)
	if !ok {
		return m
	}
	return &configv1.Secret{Name: secret.GetName(), Labels: secret.GetLabels(), Meta: secret.GetMeta(), Status: secret.GetStatus()}
}

// kindOf is the kind as config files spell it; empty for what isn't an object of theirs.
func kindOf(m proto.Message) string {
	name := string(m.ProtoReflect().Descriptor().Name())
	if kind, ok := rules.Canonical(name); ok && m.ProtoReflect().Descriptor().ParentFile().Package() == "hopgate.config.v1" {
		return rules.Title(kind)
	}
	return ""
}

func nodeState(n *adminv1.Node) string {
	switch {
	case !n.GetConnected():
		return "gone since " + age(n.GetSince())
	case n.GetSuspect():
		return "suspect"
	case n.GetDraining():
		return "draining"
	case n.GetInSync():
		return "in sync"
	}
	return "behind"
}

func upstreams(n *adminv1.Node) string {
	bad := []string{}
	for _, u := range n.GetUpstreams() {
		if !u.GetOk() {
			bad = append(bad, u.GetServer()+" ("+u.GetError()+", "+age(u.GetTime())+" ago)")
		}
	}
	if len(bad) == 0 {
		return fmt.Sprintf("%d ok", len(n.GetUpstreams()))
	}
	return fmt.Sprintf("%d ok, failing: %s", len(n.GetUpstreams())-len(bad), strings.Join(bad, ", "))
}

func cells(v ...any) string {
	out := make([]string, len(v))
	for i := range v {
		out[i] = clean(fmt.Sprint(v[i]))
	}
	return strings.Join(out, "\t")
}

// clean keeps what others wrote from moving the cursor or breaking a table.
func clean(s string) string { return printable(s) }

// printable replaces control characters but those to keep with spaces.
func printable(s string, keep ...rune) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && !slices.Contains(keep, r) {
			return ' '
		}
		return r
	}, s)
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func clock(t *timestamppb.Timestamp) string {
	if t == nil {
		return "-"
	}
	return t.AsTime().Format(time.RFC3339)
}

func age(t *timestamppb.Timestamp) string {
	if t == nil {
		return "-"
	}
	return time.Since(t.AsTime()).Truncate(time.Second).String()
}
