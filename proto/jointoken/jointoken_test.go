package jointoken_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/proto/jointoken"
)

func TestATokenIsReadAsItWasMade(t *testing.T) {
	made := jointoken.New([32]byte{1, 2, 3})
	read, err := jointoken.Parse(" " + made.Reveal() + "\n")
	if err != nil || read.ID != made.ID || read.Pin != made.Pin || read.Sum() != made.Sum() || read.Zero() {
		t.Fatalf("%v %v", read, err)
	}
	if other := jointoken.New(made.Pin); other.ID == made.ID || other.Sum() == made.Sum() {
		t.Error("two tokens are alike")
	}
	if !(jointoken.Token{}).Zero() {
		t.Error("no token isn't zero")
	}
}

func TestATokenPrintsWithoutItsSecret(t *testing.T) {
	token := jointoken.New([32]byte{1})
	secret := strings.Split(token.Reveal(), "_")[2]
	raw, err := json.Marshal(struct{ T jointoken.Token }{token})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{string(raw), fmt.Sprint(token), fmt.Sprintf("%v %+v %#v %x %q", token, token, token, token, &token), fmt.Sprintf("%+v", struct{ T *jointoken.Token }{&token})} {
		if strings.Contains(s, secret) || strings.Contains(s, fmt.Sprintf("%x", secret)) {
			t.Errorf("the secret shows in %s", s)
		}
	}
}

func TestDamagedTokensAreRefusedWithoutQuotingThem(t *testing.T) {
	good := jointoken.New([32]byte{1}).Reveal()
	parts := strings.Split(good, "_")
	for name, tc := range map[string]struct{ text, says string }{
		"empty":       {" ", "empty"},
		"an API key":  {"sk-abcdef", "begin with hgj_"},
		"cut":         {"hgj_" + parts[1], "2 parts"},
		"two":         {good + "_" + good, "characters"},
		"bad id":      {"hgj_ABC_" + parts[2] + "_" + parts[3], "id is damaged"},
		"cut secret":  {"hgj_" + parts[1] + "_" + parts[2][1:] + "_" + parts[3], "secret is damaged"},
		"upper case":  {"hgj_" + parts[1] + "_" + strings.Repeat("A", 64) + "_" + parts[3], "secret is damaged"},
		"cut pin":     {good[:len(good)-1], "pin of the authority is damaged"},
		"much":        {strings.Repeat("x", 1<<20), "1048576 characters"},
		"line inside": {"hgj_" + parts[1] + "_" + parts[2] + "\n_" + parts[3], "secret is damaged"},
	} {
		_, err := jointoken.Parse(tc.text)
		if err == nil || !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), parts[2][1:]) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(jointoken.New([32]byte{1}).Reveal())
	f.Add("hgj___")
	f.Fuzz(func(t *testing.T, text string) {
		token, err := jointoken.Parse(text)
		if err == nil && token.Reveal() != strings.TrimSpace(text) {
			t.Errorf("%q is read as another token", text)
		}
	})
}
