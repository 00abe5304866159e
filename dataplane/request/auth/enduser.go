package auth

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
)

// endUsers are headers in which a caller who may do so names its end user, in canonical form.
var endUsers = [...]struct{ canonical, shown string }{
	{"X-Hopgate-End-User-Id", "x-hopgate-end-user-id"},
	{"X-Litellm-End-User-Id", "x-litellm-end-user-id"},
}

const mostEndUser = 256 // bytes

// asserted is the principal acting for the end user that the headers name: a copy with its own ID, so that sessions of one end user are
// closed to another, and with the limits of the key. Without such a header it is p itself.
func asserted(p *table.Principal, h http.Header) (*table.Principal, error) {
	user := ""
	for i := range endUsers {
		values := h[endUsers[i].canonical]
		if len(values) == 0 {
			continue
		}
		one := strings.TrimSpace(values[0])
		switch {
		case len(values) > 1:
			return nil, misnamed("the header " + endUsers[i].shown + " was sent more than once")
		case one == "":
			continue
		case len(one) > mostEndUser || !printable(one):
			return nil, misnamed("the header " + endUsers[i].shown + " is longer than 256 bytes or not printable")
		case user != "" && user != one:
			return nil, misnamed("the headers " + endUsers[0].shown + " and " + endUsers[1].shown + " name different end users")
		}
		user = one
	}
	if user == "" {
		return p, nil
	}
	sum := sha256.Sum256([]byte(user))
	acting := *p
	acting.ID, acting.EndUser = p.ID+"/"+hex.EncodeToString(sum[:8]), user
	return &acting, nil
}

func misnamed(what string) error {
	return &fault.Error{Hop: fault.Client, Phase: fault.Auth, Kind: fault.Malformed, Message: what, Hint: "name one end user, in one of the two headers"}
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}
