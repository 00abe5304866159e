package request_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// edgeCase is one way in which MCP proxies are known to break, and what shows that this one doesn't.
type edgeCase struct {
	title string
	// tests by name, those of other packages behind their path from here; each with the defect that was put into the code once to see it red, and
	// the function it was in, in backquotes behind its type or package.
	tests map[string]string
	// bridging: the case is about two eras that meet, or partly so.
	bridging bool
}

var edgeCases = map[string][]edgeCase{
	"ids, envelopes, bytes": {
		{title: "a string id answered as a number, or the other way round", tests: map[string]string{
			"TestIDsKeepTypeAndSpelling":         "ids lose their quotes in `exchange.id`",
			"TestIDsOfServersComeBackAsTheyWere": "every id a string in `Handler.answerAsked`"}},
		{title: "integers above 2^53 rounded", tests: map[string]string{
			"TestRequestsArriveByteForByte": "requests decoded and encoded again in `Handler.forward`",
			"TestAnswersArriveByteForByte":  "answers decoded and encoded again in `Handler.relayWhole`",
			"TestNumbersSurvive":            "capabilities decoded and encoded again in `Servers.Initialize`"}},
		{title: "an event longer than a scanner's limit", tests: map[string]string{
			"hop/transport/TestEventsOfALongLivedStreamAreWholeWhateverTheirSize": "a limit of 64 KiB in `Response.NextEvent`",
			"TestLongEventsPass": "a limit of 1 MiB in `exchange.next`"}},
		{title: "an event without its type", tests: map[string]string{
			"TestAnswersArriveByteForByte":        "events lose their type in `Handler.relayEvents`",
			"TestEventsOfTheGatewayNameTheirType": "faults on streams without their event's type in `Reply.late`"}},
		{title: "200 instead of 202 for notifications", tests: map[string]string{
			"TestNotificationsAreAccepted":          "200 in `exchange.accepted`",
			"TestNotificationsToSeveralAreAccepted": "200 and a body in `Handler.tell`"}},
		{title: "invented progress tokens, tokens that collide", tests: map[string]string{
			"TestProgressTokensAreTheClientsOwn": "a token put beside the trace context in `Handler.forward`"}},
		{title: "a cancellation with another id, or to another server", tests: map[string]string{
			"TestCallersWhoLeaveEndTheUpstreamCall": "the server's stream outlives its caller's in `Handler.lasting`",
			"TestLeavingCancelsTheCall":             "the server's call outlives its caller's in `Handler.exchange`",
			"TestCancellationsFindTheirCall":        "cancellations accepted and dropped in `Handler.tell`",
			"TestServersTakeTheirRequestsBack":      "requestId of a server's cancellation not sealed in `Names.dressMessage`"}},
		{title: "structured content of errors refused, results validated again", tests: map[string]string{
			"TestResultsArentJudged": "structured content of errors refused in `Handler.relayWhole`"}},
	},
	"lists and aggregation": {
		{title: "nextCursor dropped, the cursor not forwarded", tests: map[string]string{
			"TestCursorsLeadToTheEnd":       "the cursor not forwarded in `source.page`",
			"TestCursorsThatLeadNowhereEnd": "a cursor taken again in `walker.add`"}},
		{title: "one broken server kills all, failure shown as an empty catalogue", tests: map[string]string{
			"TestABrokenServerBreaksOnlyItself": "one member's fault is the list's in `Servers.List`",
			"TestFailureIsNoEmptyCatalogue":     "capabilities of missing servers left out in `gather.AppendInitialize`"}},
		{title: "tools silently lost, caps on their number", tests: map[string]string{
			"TestNoToolIsLost": "names cut with digits that depend on the server alone in `names.Expose`"}},
		{title: "list_changed never reaches clients", tests: map[string]string{
			"TestASessionIsServedByEveryDataPlane": "GET sent without its session in `Handler.listen`",
			"TestServersAskThroughTheAggregate":    "only servers that need sessions listened to in `Servers.Listen`",
			"TestChangesOfListsAreTold":            "changes of tools not heard in `leg.ChangedBy`"}},
		{title: "URIs rewritten in lists only, or read as URLs", tests: map[string]string{
			"TestEveryURIThatIsShownCanBeRead":   "the wrapped URI left in the body in `Handler.owner`",
			"TestResultsNameResourcesAsListsDo":  "JSON answers not dressed in `Handler.relayJSON`",
			"TestUpdatesNameWhatWasSubscribedTo": "URIs of notifications stay the server's in `Names.dressMessage`"}},
		{title: "a list for one kept for all", tests: map[string]string{
			"TestFilteredListsAreNobodyElses": "narrowed lists left public in `Page.private`",
			"TestPrivateListsArentShared":     "lists of forwarded headers shared in `leg.shared`"}},
	},
	"sessions": {
		{title: "one session lost, an aggregate half alive", tests: map[string]string{
			"TestSessionsLostUpstreamAreTold":          "404 within a session told as any other in `Answer.Refused`",
			"TestALostSessionIsTold":                   "a call made again elsewhere although its server keeps state in `exchange.lost`",
			"TestALostSessionCostsTheOthersNothing":    "a list isn't had without the lost session in `source.Page`",
			"TestASessionThatIsGoneIsTold":             "calls made again in sessions of their own in `Handler.anew` without `Servers.Gone`",
			"TestTheOnlySessionIsAllOfIt":              "servers without a session counted among the living in `Servers.left`",
			"TestOnePingTellsThatASessionLives":        "no verdict remembered in `Servers.Gone`",
			"TestNobodyIsSentAwayOnASuspicion":         "any failure of a ping taken for a lost session in `Servers.ping`",
			"TestAStreamEndsWithTheLastSession":        "the last loss not told in `Listening.tried`",
			"TestServersWithoutAStreamAreAsked":        "nobody asked whether a session lives in `Listening.gone`",
			"TestAStreamThatIsNotThereIsNoLostSession": "a server that answers 404 to GET isn't asked in `Listening.gone`",
			"TestAPartThatIsLeftOutLives":              "servers that x-mcp-servers leaves out counted as lost in `Servers.left`",
			"TestANarrowedDeleteEndsAll":               "only the servers that x-mcp-servers leaves in `Servers.End`",
			"TestAnUnknownMethodIsNoLostSession":       "any 404 taken for a lost session in `Answer.Refused`"}},
		{title: "a session for each operation loses the server's state", tests: map[string]string{
			"hop/TestAnInstanceThatIsGoneIsALostSession": "any other instance will do in `Server.Pick`",
			"TestServersKeepTheirState":                  "the caller's upstream session not used in `Handler.direct`"}},
		{title: "servers with and without sessions together", tests: map[string]string{
			"TestAggregateListsAndCalls":           "servers that gave no session refused in `session.SealMany`",
			"TestServersWithAndWithoutSessionsMix": "NeedsSession not asked in `Handler.direct`"}},
		{title: "a session that isn't bound to its user", tests: map[string]string{
			"TestSessionsBelongToCallerAndEndpoint":        "the endpoint not bound in `exchange.sealSession` and `exchange.openSession`",
			"TestPeopleBehindOneKeyHaveSessionsOfTheirOwn": "end users have the id of their key in `auth.asserted`",
			"TestSealedThingsBelongToTheirCaller":          "the principal left out in `seal.bound`"}},
		{title: "sessions and goroutines left behind, sessions before the Host is checked", tests: map[string]string{
			"TestMain":                             "a ticking goroutine that outlives its stream in `reply.startPulse`",
			"TestBareCallsGetTheirOwnSession":      "no goodbye in `Handler.oneShot`",
			"TestGoodbyesAreSaidForCallersWhoLeft": "goodbyes end with their caller in `Hop.Goodbye`",
			"TestNoSessionIsLeftBehind":            "a walk's session not ended in `source.Close`"}},
		{title: "a missing session told in another shape", tests: map[string]string{
			"TestAMissingSessionHasOneShape": "400 for a session that doesn't open in `session.gone`"}},
	},
	"server to client": {
		{title: "requests of servers dropped, answers to them refused until a call hangs", tests: map[string]string{
			"TestASessionIsServedByEveryDataPlane":   "answers to servers refused in `Handler.post`",
			"TestServersAskThroughTheAggregate":      "ids of servers' requests not sealed in `several.dressAsked`",
			"TestEveryQuestionOfAServerComesThrough": "the asking session left out in `Handler.answerAsked`",
			"TestAnswersThatNobodyTakesAreRefused":   "202 whatever a server says to an answer in `Handler.relay`"}},
		{title: "answers on two streams, GET to a server without a stream", tests: map[string]string{
			"TestRefusedVerbs":          "405 told as a failure in `Handler.refusedVerb`",
			"TestNothingComesTwice":     "events passed twice in `Handler.relayMerged`",
			"TestServersWithoutAStream": "a stream that is refused for good ends the merged one in `reader.run`"}},
		{title: "capabilities declared for the client, or not forwarded", tests: map[string]string{
			"TestServersHearTheClientsOwnCapabilities": "sampling declared for everybody in `Leg.Open`"}},
		{title: "interim results pass by the guards", tests: map[string]string{
			"TestInterimResultsPassAndRetriesAreJudged": "retries with answers not held against grants in `Handler.permit`"}},
	},
	"versions and eras": {
		{title: "the client's revision sent to a server that agreed to another", tests: map[string]string{
			"TestEachServerHearsTheRevisionItAgreedTo": "the client's revision forwarded to every owner in `Handler.direct`",
			"TestWhatWasRemovedIsGone":                 "ping answered in every era in `exchange.has`",
			"TestTheAgreementIsTheServersWord":         "any offer agreed to in `Request.answered`"}},
		{title: "a fallback that knows one error code, a verdict kept that was none", bridging: true, tests: map[string]string{
			"TestMixedErasAreRefusedOnceKnown":       "nothing learned of answers in `Handler.relayWhole`",
			"TestVerdictsDontSurviveAChangeOfConfig": "verdicts kept under the server's name in `memory.note`",
			"hop/TestVerdictsHealAndAge":             "verdicts never age in `verdict.fresh`",
			"message/TestDiscoverAsEvidence":         "-32601 the only error that is a no in `message.Discover`",
			"message/TestInitializeAsEvidence":       "any error is a no in `message.Initialized`"}},
		{title: "discovery that promises what isn't there", bridging: true, tests: map[string]string{
			"TestDiscoveryPromisesWhatIsThere": "servers of the earlier era passed over in `Servers.Discover`"}},
		{title: "a request without a revision refused before anybody looks at its era", bridging: true, tests: map[string]string{
			"TestRequestsWithoutARevisionAreServed": "a missing revision refused in `exchange.speak`"}},
	},
	"HTTP, paths, buffering": {
		{title: "the relative address of the old transport, prefixes of paths", tests: map[string]string{
			"../face/TestAnOldClientHasAWholeSession": "an address relative to the stream's own in `stream.stay`",
			"../face/TestAnOldClientOfTheAggregate":   "the aggregate's prefix lost in `stream.stay`",
			"TestMethodsAndPaths":                     "a slash behind the path makes another one in `endpoint.Parse`"}},
		{title: "403 for the name of a proxy", tests: map[string]string{
			"TestHostsAndOriginsAreChecked": "public names known in forwarded hosts only in `Listener.hostAllowed`",
			"TestNamesBehindAProxyPass":     "public names refused wherever the socket is in `Listener.hostAllowed`"}},
		{title: "events held back by compression or buffers", tests: map[string]string{
			"TestEventsArriveAsTheyAreSent": "events not flushed in `pulse.send`",
			"TestNobodyHoldsEventsBack":     "streams without X-Accel-Buffering in `Reply.Stream`"}},
		{title: "faults of kept-alive sessions and streams", tests: map[string]string{
			"TestQuietStreamsAreKeptAlive":           "a blank line behind the comment in `pulse.beat`",
			"TestQuietStreamsOutliveTheWriteLimit":   "the time for writing given once in `sink.arm`",
			"hop/transport/TestStaleIdleConnections": "kept connections not looked at in `pool.get`",
			"TestQuietStreamsOfSeveralAreKeptAlive":  "merged streams without a keep-alive in `Handler.relayMerged`"}},
		{title: "servers that speak HTTP each in their own manner", tests: map[string]string{
			"hop/transport/TestUnusualButValidAnswers": "LF alone ends no line in `transport.trimEnd`",
			"TestServersAnswerInAnyManner":             "event streams not read in `Leg.read`"}},
	},
	"authentication": {
		{title: "the wrong scheme, host or path in resource_metadata behind TLS", tests: map[string]string{
			"TestDocumentsNameExactlyWhatWasAskedFor": "the challenge's address without the route in `Handler.challenge`",
			"TestDocumentsNameTheOutsideBehindTLS":    "documents' origin from the Host header in `Handler.document`"}},
		{title: "a resource that isn't the URL that was used", tests: map[string]string{
			"wellknown/TestResourceIsTheURLOfTheRoute": "the bare origin as the resource in `wellknown.Answer`",
			"TestTheResourceIsTheURLThatWasUsed":       "a slash behind the resource in `wellknown.Answer`"}},
	},
	"from the text": {
		{title: "a call sent again after a reset", tests: map[string]string{
			"hop/TestACallThatMayHaveRunIsNeverSentTwice":            "every call may run twice in `sending.repeats`",
			"hop/transport/TestBytesSentAndNoAnswerIsNeverSentAgain": "a request sent again on another connection in `Response.begin`",
			"TestABrokenCallIsSentOnce":                              "every call repeatable in `Handler.hints`"}},
		{title: "a change of config that cuts subscriptions", tests: map[string]string{
			"TestAStreamEndsWithWhatOpenedIt":     "a caller that is restricted now keeps its stream in `Handler.judge`",
			"TestSubscriptionsEndWithTheirResult": "merged subscriptions end without their result in `Handler.relayMerged`"}},
		{title: "Mcp-Name not encoded again", tests: map[string]string{
			"TestMirroredNamesAreEncodedAnew": "Mcp-Name not encoded again in `exchange.rewrite`"}},
		{title: "names twice in an object", tests: map[string]string{
			"message/TestScanRefusals":             "names twice in an object let through in `cursor.name`",
			"TestNoSpellingOfACallPassesTheGrants": "calls without an id not held against grants in `exchange.allowed`",
			"TestRepeatedNamesAreRefused":          "names twice in an object let through in `cursor.name`"}},
		{title: "Accept narrowed to JSON", tests: map[string]string{
			"TestOutboundRequestsAreBuiltFromNothing": "GET asks for JSON in `Hop.appendFields`",
			"TestServersAreOfferedBothForms":          "JSON alone accepted from servers in `Hop.appendFields`"}},
		{title: "long streams that use up the connections to a server", tests: map[string]string{
			"TestStreamsPerCallerAreLimited":   "a stream's place not given back in `Handler.stay`",
			"TestManyStreamsLeaveRoomForCalls": "50 places for streams in `Handler.stay`"}},
		{title: "a batch for a server that takes none", tests: map[string]string{
			"TestABatchIsAnsweredInItsOrder": "batches forwarded as they came in `Handler.post`",
			"TestABatchForSeveralServers":    "JSON answers left out of the stream in `bundle.one`",
			"TestBatchesAreOfOneRevision":    "batches without a revision taken outside of sessions in `exchange.mayBatch`"}},
		{title: "Expect: 100-continue", tests: map[string]string{
			"TestExpectedContinue": "Expect taken for a header like any other in `head.meaning`"}},
		{title: "trailers", tests: map[string]string{
			"TestHeadersThatTravel":        "trailers added to the header in `Listener.serve`",
			"TestServersAnswerInAnyManner": "event streams not read in `Leg.read`"}},
		{title: "bodies in gzip", tests: map[string]string{
			"TestBodiesInEveryCoding": "codings known in small letters alone in `Handler.readBody`"}},
		{title: "streams that are resumed elsewhere", tests: map[string]string{
			"TestBrokenStreamsAreResumed": "Last-Event-ID not forwarded in `Handler.listen`"}},
	},
}

// Each case has tests that exist, and each of these says which defect it was seen to find, in a function that exists.
func TestEveryEdgeCaseHasItsTests(t *testing.T) {
	noted, known := map[string]bool{}, functions(t)
	for heading, cases := range edgeCases {
		for _, c := range cases {
			if len(c.tests) == 0 {
				t.Errorf("%s: %s: no test", heading, c.title)
			}
			for name, defect := range c.tests {
				dir, test := filepath.Split(name)
				if testsIn(t, filepath.Clean(dir+"."))[test] == "" {
					t.Errorf("%s: %s: there is no %s", heading, c.title, name)
				}
				in := quoted.FindAllStringSubmatch(defect, -1)
				if len(in) == 0 {
					t.Errorf("%s: %s: the defect %q is in no function", heading, name, defect)
				}
				for _, f := range in {
					if !known[f[1]] {
						t.Errorf("%s: %s: there is no function %s", heading, name, f[1])
					}
				}
				noted[name] = true
			}
		}
	}
	for name, file := range testsIn(t, ".") {
		if strings.HasPrefix(file, "edge_") && !noted[name] && name != "TestEveryEdgeCaseHasItsTests" {
			t.Errorf("%s in %s isn't in the table", name, file)
		}
	}
	var n int
	for _, heading := range []string{"ids, envelopes, bytes", "lists and aggregation", "sessions", "server to client", "versions and eras",
		"HTTP, paths, buffering", "authentication"} {
		n += len(edgeCases[heading])
	}
	if n != 35 {
		t.Errorf("%d known cases, and there are 35", n)
	}
}

var parsed = map[string]map[string]string{}

// testsIn are the tests of a folder, with their files.
func testsIn(t *testing.T, dir string) map[string]string {
	t.Helper()
	if parsed[dir] != nil {
		return parsed[dir]
	}
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	fatal(t, err)
	slices.Sort(files)
	parsed[dir] = map[string]string{}
	for _, path := range files {
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		fatal(t, err)
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Test") {
				parsed[dir][fn.Name.Name] = filepath.Base(path)
			}
		}
	}
	return parsed[dir]
}

var quoted = regexp.MustCompile("`([^`]*)`")

// functions are those of the product: methods behind their type, others behind their package.
func functions(t *testing.T) map[string]bool {
	t.Helper()
	known := map[string]bool{}
	for _, root := range []string{"..", "../../proto"} {
		fatal(t, filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			for _, d := range f.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok {
					known[behind(f, fn)+"."+fn.Name.Name] = true
				}
			}
			return nil
		}))
	}
	return known
}

// behind is the type of a method, or the package of any other function.
func behind(f *ast.File, fn *ast.FuncDecl) string {
	if fn.Recv == nil {
		return f.Name.Name
	}
	of := fn.Recv.List[0].Type
	if p, ok := of.(*ast.StarExpr); ok {
		of = p.X
	}
	if id, ok := of.(*ast.Ident); ok {
		return id.Name
	}
	return "" // of a generic type
}
