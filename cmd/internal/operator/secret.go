package operator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/redact"
	"github.com/hopgate/hopgate/proto/rules"
)

// mostInput bounds what is read of a value before it is checked, in bytes.
const mostInput = 64 << 10

// ReadValue reads a credential from the file, or from in when the file is empty, without one line end at its end. A terminal is refused: it
// would show what is typed.
func ReadValue(file string, in io.Reader) (redact.Secret, error) {
	if file != "" {
		f, err := os.Open(file)
		if err != nil {
			return redact.Secret{}, err
		}
		defer f.Close()
		in = f
	} else if f, ok := in.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			return redact.Secret{}, errors.New("the value comes from standard input or --value-file; a terminal would show it")
		}
	}
	b, err := io.ReadAll(io.LimitReader(in, mostInput))
	if err != nil {
		return redact.Secret{}, fmt.Errorf("read the value: %w", err)
	}
	b = bytes.TrimSuffix(bytes.TrimSuffix(b, []byte("\n")), []byte("\r"))
	if len(b) == 0 {
		return redact.Secret{}, errors.New("the value is empty")
	}
	return redact.NewSecret(string(b)), nil
}

// SetSecret gives a secret its value, a new one or one that is there; its labels stay. It returns what that did, created, updated or
// unchanged, and the change's id, empty for the last.
func SetSecret(ctx context.Context, c adminv1.AdminServiceClient, name string, value redact.Secret) (word, change string, err error) {
	object := &configv1.Secret{Name: name, Spec: &configv1.SecretSpec{Value: value.Reveal()}}
	if err := rules.Secret(object).Err(); err != nil {
		return "", "", err
	}
	before, err := c.GetSecret(ctx, &adminv1.GetRequest{Name: name})
	if status.Code(err) == codes.NotFound {
		after, err := c.PutSecret(ctx, &adminv1.PutSecretRequest{Name: name, Secret: object, Message: "secret created"})
		if err != nil {
			return "", "", Explain(err)
		}
		return "created", after.GetMeta().GetChange(), nil
	}
	if err != nil {
		return "", "", Explain(err)
	}
	after, err := c.UpdateSecret(ctx, &adminv1.UpdateSecretRequest{Name: name, Secret: object, Message: "secret value set",
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"spec.value"}}})
	switch {
	case err != nil:
		return "", "", Explain(err)
	case after.GetMeta().GetChange() == before.GetMeta().GetChange():
		return "unchanged", "", nil
	}
	return "updated", after.GetMeta().GetChange(), nil
}
