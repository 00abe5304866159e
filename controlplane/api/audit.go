package api

import (
	"context"
	"errors"
	"log/slog"
	"path"
	"strings"
	"unicode"

	"github.com/oklog/ulid/v2"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/hopgate/hopgate/controlplane/rollout"
	"github.com/hopgate/hopgate/proto/attr"
	"github.com/hopgate/hopgate/proto/confset"
	"github.com/hopgate/hopgate/proto/rules"
)

// trail is what the audit line of one call will say. One goroutine owns it.
type trail struct {
	method  string // /hopgate.admin.v1.AdminService/PutServer
	remote  string
	caller  caller
	objects []string // kind/name, at most trailMost
	more    int      // objects beyond those
	change  string
	repeat  bool // answered from an earlier request with the same id
	dry     bool // validate_only
}

const trailMost = 10

type trailKey struct{}

// trailOf returns the running call's trail; one that nobody reads outside a call.
func trailOf(ctx context.Context) *trail {
	if t, ok := ctx.Value(trailKey{}).(*trail); ok {
		return t
	}
	return &trail{}
}

// aim notes what a write is about, anew each time that is worked out.
func (t *trail) aim(dry bool, edits []edit) {
	t.dry, t.objects, t.more = dry, nil, 0
	for _, e := range edits {
		if len(t.objects) == trailMost {
			t.more = len(edits) - trailMost
			return
		}
		t.objects = append(t.objects, e.key.Kind+"/"+nameOf(e.key))
	}
}

// nameOf is the name of an object as answers and logs may have it: what a caller sent as one may be a key.
func nameOf(key confset.Key) string {
	if _, err := ulid.ParseStrict(key.Name); err == nil && key.Kind == rollout.Kind {
		return key.Name
	}
	return rules.Tellable(key.Name)
}

// note is aim for objects that no edit names.
func (t *trail) note(keys []confset.Key) {
	edits := make([]edit, len(keys))
	for i, key := range keys {
		edits[i].key = key
	}
	t.aim(false, edits)
}

func (t *trail) committed(change string) { t.change = change }

func (t *trail) repeated(change string) { t.change, t.repeat = change, true }

// audit writes the one line of a write or a refusal: who, what, outcome, change. What the caller sent appears only as names of objects and
// fields; causes that only we may see are logged with it.
func (g *guard) audit(ctx context.Context, t *trail, err error) {
	code := status.Code(err)
	attrs := []slog.Attr{
		slog.String(logCaller, t.caller.name), slog.String(logRole, t.caller.role), slog.String(logMethod, path.Base(t.method)),
		slog.String(logRemote, t.remote), slog.String(logOutcome, codeWord(code)),
	}
	if len(t.objects) > 0 {
		attrs = append(attrs, slog.String(logObjects, strings.Join(t.objects, ",")))
	}
	if t.more > 0 {
		attrs = append(attrs, slog.Int(logMore, t.more))
	}
	if t.change != "" {
		attrs = append(attrs, slog.String(logChange, t.change))
	}
	if t.repeat {
		attrs = append(attrs, slog.Bool(logRepeat, true))
	}
	if t.dry {
		attrs = append(attrs, slog.Bool(logDry, true))
	}
	if id := trace.SpanContextFromContext(ctx).TraceID(); id.IsValid() {
		attrs = append(attrs, slog.String(attr.LogTrace, id.String()))
	}
	g.cfg.Log.LogAttrs(ctx, level(t.method, code), "admin call", append(attrs, why(err)...)...)
}

// why tells names of offending fields and internal causes; never the text of an answer, which may quote what was sent.
func why(err error) (attrs []slog.Attr) {
	var caused *causedError
	if errors.As(err, &caused) {
		attrs = append(attrs, slog.String(attr.LogError, caused.cause.Error()))
	}
	if fields := violatedFields(err); len(fields) > 0 {
		attrs = append(attrs, slog.String(logFields, strings.Join(fields, ",")))
	}
	return attrs
}

func violatedFields(err error) (fields []string) {
	for _, d := range status.Convert(err).Details() {
		bad, ok := d.(*errdetails.BadRequest)
		if !ok {
			continue
		}
		for _, v := range bad.GetFieldViolations() {
			fields = append(fields, v.GetField())
		}
	}
	return fields[:min(len(fields), trailMost)]
}

// level is how loud a call's line is. To look for what isn't there is an ordinary question.
func level(method string, code codes.Code) slog.Level {
	switch code {
	case codes.OK:
		return slog.LevelInfo
	case codes.NotFound:
		if readOnly(method) {
			return slog.LevelInfo
		}
	case codes.Internal, codes.Unknown, codes.DataLoss:
		return slog.LevelError
	}
	return slog.LevelWarn
}

// codeWord is a gRPC code as logs and spans spell it: invalid_argument.
func codeWord(c codes.Code) string {
	var b strings.Builder
	for i, r := range c.String() {
		if i > 0 && unicode.IsUpper(r) && c != codes.OK {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
