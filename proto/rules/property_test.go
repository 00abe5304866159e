package rules_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/hopgate/hopgate/proto/rules"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"
)

// words are values that mean something somewhere, right and wrong ones.
var words = []string{
	"", "*", "a", "b", "github", "my-server", "get_*", "a*b", "authorization", "x-tenant", "X-Tenant", "host", "default", "main", "any", "internal", "none", "api_key",
	"bearer", "basic", "passthrough", "oauth2", "client_credentials", "token_exchange", "https://a.example.com", "http://127.0.0.1:1/mcp", "http://a/", "https://[::1]/",
	"cursor://host/*", "*.example.com", "10.0.0.0/8", "0.0.0.0/0", "::1", "100/s", "0/h", "30s", "-1s", "4MiB", "0.5", "RS256", "none", "HS256", "debug", "admin",
	"2027-01-31T00:00:00Z", "x-forwarded-for", "${A}", "os.environ/A", " ", "é", "\x00", "\r\n", "a:b",
	"2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b", "sk-0123456789",
}

// fill sets fields of m at random: none, few or many.
func fill(t *rapid.T, m protoreflect.Message, depth int) {
	for i := range m.Descriptor().Fields().Len() {
		f := m.Descriptor().Fields().Get(i)
		switch {
		case rapid.IntRange(0, 2).Draw(t, "skip") == 0 || depth > 6:
		case f.IsMap():
			for range rapid.IntRange(0, 2).Draw(t, "entries") {
				m.Mutable(f).Map().Set(protoreflect.ValueOfString(word(t)).MapKey(), protoreflect.ValueOfString(word(t)))
			}
		case f.IsList():
			list := m.Mutable(f).List()
			for range rapid.IntRange(0, 3).Draw(t, "items") {
				if f.Message() != nil {
					fill(t, list.AppendMutable().Message(), depth+1)
				} else {
					list.Append(scalar(t, f))
				}
			}
		case f.Message() != nil:
			if f.Message().FullName() != "google.protobuf.Timestamp" {
				fill(t, m.Mutable(f).Message(), depth+1)
			}
		default:
			m.Set(f, scalar(t, f))
		}
	}
}

func word(t *rapid.T) string { return rapid.SampledFrom(words).Draw(t, "word") }

func scalar(t *rapid.T, f protoreflect.FieldDescriptor) protoreflect.Value {
	switch f.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(word(t))
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte(word(t)))
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(rapid.Bool().Draw(t, "bool"))
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(rapid.Int64().Draw(t, "int64"))
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(rapid.Int32Range(-1, 1000).Draw(t, "int32"))
	}
	panic("no generator for " + f.Kind().String())
}

// TestAFileIsTakenIffItsObjectIs: whatever an object holds, Check doesn't panic, and a file with the object printed into it is taken if and
// only if Check has nothing to say; it then holds the same object, and as many violations as Check says otherwise.
func TestAFileIsTakenIffItsObjectIs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SampledFrom(rules.Kinds()).Draw(t, "kind")
		m := rules.New(kind)
		fill(t, m.ProtoReflect(), 0)
		want := rules.Check(kind, m)
		docs, err := rules.Documents(file(t, kind, m))
		if (err == nil) != (len(want) == 0) {
			t.Fatalf("Check says %v, the file says %v", want, err)
		}
		if err == nil && !proto.Equal(docs[0].Message, m) {
			t.Fatalf("read %v from a file with %v", docs[0].Message, m)
		}
		if got := (rules.Violations)(nil); errors.As(err, &got) && len(want) <= 100 && len(got) != len(want) {
			t.Fatalf("Check says\n%v\nthe file says\n%v", want, got)
		}
	})
}

// file prints an object as a config file in JSON; names are always there, so that Settings doesn't get its own.
func file(t *rapid.T, kind string, m proto.Message) []byte {
	// What isn't set is written out but in overlays, where that is refused.
	body, err := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: kind != "overlay"}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return append(fmt.Appendf(nil, `{"kind": %q, `, kind), bytes.TrimPrefix(body, []byte("{"))...)
}
