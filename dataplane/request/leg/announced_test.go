package leg

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/catalogue"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/table"
)

// Red when a server that once had no stream is taken for mute until its config changes, or when a handshake makes it speak.
func TestAServerIsMuteForTenMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all announced
		s := &table.Server{Name: "notes"}
		hello := message.Hello{Capabilities: []byte(`{"tools":{"listChanged":true}}`)}
		all.mute(s)
		time.Sleep(10*time.Minute - time.Millisecond)
		if all.note(s, &hello); all.tells(s, catalogue.Tools) {
			t.Error("it speaks too early")
		}
		time.Sleep(time.Millisecond)
		if !all.tells(s, catalogue.Prompts) {
			t.Error("it is mute for longer: nobody knows of prompts")
		}
		if all.note(s, &hello); !all.tells(s, catalogue.Tools) || all.tells(s, catalogue.Prompts) {
			t.Error("what it says isn't believed")
		}
	})
}
