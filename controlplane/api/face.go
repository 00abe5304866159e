package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

// newGateway builds the mux that turns REST calls into gRPC calls of our own service.
func newGateway(client adminv1.AdminServiceClient) (http.Handler, error) {
	mux := runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, &face{}),
		runtime.WithIncomingHeaderMatcher(passInward),
		runtime.WithOutgoingHeaderMatcher(passOutward),
		runtime.WithMetadata(func(_ context.Context, r *http.Request) metadata.MD { return metadata.Pairs(remoteKey, r.RemoteAddr) }),
		runtime.WithForwardResponseOption(setETag),
		runtime.WithErrorHandler(func(ctx context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, _ *http.Request, err error) {
			if md, ok := runtime.ServerMetadataFromContext(ctx); ok {
				for _, id := range md.HeaderMD.Get(traceIDKey) {
					w.Header().Set(traceIDKey, id)
				}
			}
			writeError(w, err)
		}),
		runtime.WithDisablePathLengthFallback(),
		runtime.WithDisableHTTPMethodOverride(),
	)
	// The context ends nothing: the connection is the caller's.
	if err := adminv1.RegisterAdminServiceHandlerClient(context.Background(), mux, client); err != nil {
		return nil, fmt.Errorf("api: REST face: %w", err)
	}
	return mux, nil
}

// passInward names the HTTP headers that reach the service; Authorization always does.
func passInward(header string) (string, bool) {
	switch header {
	case "Traceparent", "Tracestate", "X-Hopgate-Api-Key":
		return strings.ToLower(header), true
	case "If-Match":
		return ifMatchKey, true
	}
	return "", false
}

func passOutward(key string) (string, bool) { return key, key == traceIDKey }

func setETag(_ context.Context, w http.ResponseWriter, m proto.Message) error {
	if o, ok := m.(object); ok && o.GetMeta().GetEtag() != "" {
		w.Header().Set("ETag", `"`+o.GetMeta().GetEtag()+`"`)
	}
	return nil
}

// face is the JSON of the REST face: proto field names, no white space, one line, an empty list where a page is empty.
type face struct{ runtime.JSONPb }

func (f *face) ContentType(any) string { return "application/json" }

func (f *face) Marshal(v any) ([]byte, error) {
	m, ok := v.(proto.Message)
	if !ok {
		return json.Marshal(v)
	}
	b, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := json.Compact(&out, b); err != nil { // protojson varies its white space on purpose
		return nil, err
	}
	return append(fillPage(m.ProtoReflect(), out.Bytes()), '\n'), nil
}

// fillPage puts the empty list into the JSON of a page without items, so that scripts can walk it.
func fillPage(m protoreflect.Message, b []byte) []byte {
	items := m.Descriptor().Fields().ByNumber(1)
	if items == nil || !items.IsList() || m.Has(items) || m.Descriptor().Fields().ByName("next_page_token") == nil {
		return b
	}
	head := fmt.Appendf(nil, `{"%s":[]`, items.Name())
	if len(b) > len("{}") {
		head = append(head, ',')
	}
	return append(head, b[1:]...)
}

func (f *face) NewEncoder(w io.Writer) runtime.Encoder {
	return runtime.EncoderFunc(func(v any) error {
		b, err := f.Marshal(v)
		if err == nil {
			_, err = w.Write(b)
		}
		return err
	})
}

// httpStatus is the HTTP status of an answer: gRPC's usual mapping, but 412 where an object isn't as the caller thinks.
func httpStatus(s *status.Status) int {
	if s.Code() == codes.Aborted {
		for _, d := range s.Details() {
			if info, ok := d.(*errdetails.ErrorInfo); ok && (info.GetReason() == reasonStale || info.GetReason() == reasonSince) {
				return http.StatusPreconditionFailed
			}
		}
	}
	return runtime.HTTPStatusFromCode(s.Code())
}

// writeError answers with a google.rpc.Status as JSON.
func writeError(w http.ResponseWriter, err error) {
	s := status.Convert(refusal(err))
	writeStatus(w, httpStatus(s), s)
}

func writeStatus(w http.ResponseWriter, code int, s *status.Status) {
	b, err := (&face{}).Marshal(s.Proto())
	if err != nil {
		b = []byte(`{"code":13,"message":"the error could not be written as JSON"}` + "\n")
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	if s.Code() == codes.Unauthenticated {
		h.Set("WWW-Authenticate", `Bearer realm="hopgate"`)
	}
	w.WriteHeader(code)
	// A caller that is gone can't be told.
	_, _ = w.Write(b)
}
