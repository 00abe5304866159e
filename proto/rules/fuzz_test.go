package rules_test

import (
	"os"
	"path/filepath"
	"testing"

	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/rules"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

func corpus(f *testing.F) {
	f.Helper()
	paths, err := filepath.Glob("testdata/*/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, p := range paths {
		in, err := os.ReadFile(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(in)
	}
}

// FuzzDocuments: a file never panics; what is taken is whole, checks out and has a body that reads back.
func FuzzDocuments(f *testing.F) {
	corpus(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		docs, err := rules.Documents(in)
		if err != nil {
			if len(docs) > 0 || err.Error() == "" {
				t.Fatalf("%d documents and error %q", len(docs), err)
			}
			return
		}
		for _, d := range docs {
			if vs := rules.Check(d.Kind, d.Message); len(vs) > 0 {
				t.Fatal(vs)
			}
			body, err := rules.Body(d.Message)
			if err != nil {
				t.Fatal(err)
			}
			if err := proto.Unmarshal(body, rules.New(d.Kind)); err != nil {
				t.Fatal(err)
			}
			roundTrip(t, d)
		}
	})
}

// FuzzStrict: JSON never panics, and what the walk takes protojson takes, for every kind.
func FuzzStrict(f *testing.F) {
	f.Add([]byte(`{"name":"s","labels":{"a":"b"},"spec":{"endpoints":[{"url":"http://h/","regions":["eu"]}],"timeouts":{"idle":"1s"}}}`))
	f.Add([]byte(`{"meta":{"generation":"12","create_time":"2026-11-23T10:00:00.123456789Z"},"spec":{"limits":{"depth":64}}}`))
	f.Add([]byte(`{"keys":[{"id":4294967295,"secret":"AAEC_-8=","sealing":true,"create_time":"0001-01-01T00:00:00Z"}]}`))
	f.Add([]byte(`{"spec":{"auth":{"type":"oauth2","value":{"secret":"s"},"scopes":["a"],"omit_resource":true},"headers":[{"name":"a","text":"b"}]}}`))
	f.Add([]byte(`{"spec":{"grants":[{"claim":"a","tools":[{"parameters":[{"required":true}]}]}],"limits":{"concurrency":1}}}`))
	f.Add([]byte(`{"spec":{"value":"a","sealed":"AAEC"}}`))
	f.Add([]byte(`{"keys":[{"secret":"00000-0+"},{"secret":"AAE="},{"secret":"AAE=="}]}`)) // two alphabets in one text
	f.Fuzz(func(t *testing.T, in []byte) {
		messages := []proto.Message{&configv1.SealingRing{}}
		for _, kind := range rules.Kinds() {
			messages = append(messages, rules.New(kind))
		}
		for _, m := range messages {
			if vs := rules.Strict(m.ProtoReflect().Descriptor(), in); len(vs) > 0 {
				_ = vs.Error()
				continue
			}
			if err := protojson.Unmarshal(in, m); err != nil {
				t.Fatalf("the walk takes %q as %T, protojson says: %v", in, m, err)
			}
		}
	})
}

// FuzzCheck: no message panics, whatever it holds.
func FuzzCheck(f *testing.F) {
	f.Add([]byte("\n\x01s\x1a\x02\x12\x00"))
	f.Fuzz(func(_ *testing.T, in []byte) {
		for _, kind := range rules.Kinds() {
			m := rules.New(kind)
			if proto.Unmarshal(in, m) == nil {
				_ = rules.Check(kind, m).Error()
			}
		}
	})
}

// FuzzOrigins: no text panics; a normalised origin is its own, has no path, and is shown by no error.
func FuzzOrigins(f *testing.F) {
	for _, s := range []string{"https://a", "HTTP://[::1]:080", "https://u@a/", "cursor://host/*", "*.example.com", "spiffe://a/b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		_, _, _ = rules.RedirectOrigin(in), rules.NativeURI(in), rules.UpstreamHeader(in)
		origin, err := rules.Origin(in)
		if err != nil {
			return
		}
		if again, err := rules.Origin(origin); err != nil || again != origin {
			t.Fatalf("%q is %q, which is %q, %v", in, origin, again, err)
		}
	})
}
