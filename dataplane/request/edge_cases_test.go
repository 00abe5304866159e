package request_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// edgeCase is one way in which MCP proxies are known to break, and what shows that this one doesn't.
type edgeCase struct {
	title string
	// tests by name, those of other packages behind their path from here; each with the defect that was put into the code once to see it red.
	// Tests from before this table have none there.
	tests map[string]string
	// bridging: the case is about two eras that meet, or partly so.
	bridging bool
}

var edgeCases = map[string][]edgeCase{
	"ids, envelopes, bytes": {
		{title: "a string id answered as a number, or the other way round", tests: map[string]string{
			"TestIDsKeepTypeAndSpelling":         "ids lose their quotes in exchange.id",
			"TestIDsOfServersComeBackAsTheyWere": "answerAsked makes every id a string"}},
		{title: "integers above 2^53 rounded", tests: map[string]string{
			"TestRequestsArriveByteForByte": "", "TestAnswersArriveByteForByte": "",
			"TestNumbersSurvive": "capabilities decoded and encoded in greet"}},
		{title: "an event longer than a scanner's limit", tests: map[string]string{
			"hop/transport/TestEventsOfALongLivedStreamAreWholeWhateverTheirSize": "",
			"TestLongEventsPass": "a limit of 1 MiB in exchange.next"}},
		{title: "an event without its type", tests: map[string]string{
			"TestAnswersArriveByteForByte":        "",
			"TestEventsOfTheGatewayNameTheirType": "faults on streams without their event's type"}},
		{title: "200 instead of 202 for notifications", tests: map[string]string{
			"TestNotificationsAreAccepted":          "",
			"TestNotificationsToSeveralAreAccepted": "tell returns what a server says"}},
		{title: "invented progress tokens, tokens that collide", tests: map[string]string{
			"TestProgressTokensAreTheClientsOwn": "a token put beside the trace context in forward"}},
		{title: "a cancellation with another id, or to another server", tests: map[string]string{
			"TestCallersWhoLeaveEndTheUpstreamCall": "", "TestLeavingCancelsTheCall": "the server's call outlives its caller's in exchange",
			"TestCancellationsFindTheirCall":   "cancellations accepted and dropped in tell",
			"TestServersTakeTheirRequestsBack": "requestId of a server's cancellation not sealed"}},
		{title: "structured content of errors refused, results validated again", tests: map[string]string{
			"TestResultsArentJudged": "relayWhole refuses structured content of errors"}},
	},
	"lists and aggregation": {
		{title: "nextCursor dropped, the cursor not forwarded", tests: map[string]string{
			"TestCursorsLeadToTheEnd":       "the cursor not forwarded in source.page",
			"TestCursorsThatLeadNowhereEnd": "the catalogue's walk takes a cursor again"}},
		{title: "one broken server kills all, failure shown as an empty catalogue", tests: map[string]string{
			"TestABrokenServerBreaksOnlyItself": "one member's fault is the list's",
			"TestFailureIsNoEmptyCatalogue":     "capabilities of missing servers left out"}},
		{title: "tools silently lost, caps on their number", tests: map[string]string{
			"TestNoToolIsLost": "long names cut without their own digits"}},
		{title: "list_changed never reaches clients", tests: map[string]string{
			"TestASessionIsServedByEveryDataPlane": "", "TestServersAskThroughTheAggregate": "",
			"TestChangesOfListsAreTold": "changes of tools not heard in changedBy"}},
		{title: "URIs rewritten in lists only, or read as URLs", tests: map[string]string{
			"TestEveryURIThatIsShownCanBeRead":   "owner leaves the wrapped URI in the body",
			"TestResultsNameResourcesAsListsDo":  "JSON answers not dressed in relayJSON",
			"TestUpdatesNameWhatWasSubscribedTo": "URIs of notifications stay the server's"}},
		{title: "a list for one kept for all", tests: map[string]string{
			"TestFilteredListsAreNobodyElses": "cacheScope of narrowed lists left public",
			"TestPrivateListsArentShared":     "lists of forwarded headers shared"}},
	},
	"sessions": {
		{title: "one session lost, an aggregate half alive", tests: map[string]string{
			"TestSessionsLostUpstreamAreTold":       "",
			"TestALostSessionIsTold":                "a call made again elsewhere although its server keeps state",
			"TestALostSessionCostsTheOthersNothing": "a list isn't had without the lost session"}},
		{title: "a session for each operation loses the server's state", tests: map[string]string{
			"hop/TestAnInstanceThatIsGoneIsALostSession": "",
			"TestServersKeepTheirState":                  "the caller's upstream session not used in direct"}},
		{title: "servers with and without sessions together", tests: map[string]string{
			"TestAggregateListsAndCalls":           "",
			"TestServersWithAndWithoutSessionsMix": "NeedsSession not asked in direct"}},
		{title: "a session that isn't bound to its user", tests: map[string]string{
			"TestSessionsBelongToCallerAndEndpoint": "", "TestPeopleBehindOneKeyHaveSessionsOfTheirOwn": "",
			"TestSealedThingsBelongToTheirCaller": "the principal not bound in seal"}},
		{title: "sessions and goroutines left behind, sessions before the Host is checked", tests: map[string]string{
			"TestMain": "", "TestBareCallsGetTheirOwnSession": "", "TestGoodbyesAreSaidForCallersWhoLeft": "",
			"TestNoSessionIsLeftBehind": "a walk's session not ended in source.Close"}},
		{title: "a missing session told in another shape", tests: map[string]string{
			"TestAMissingSessionHasOneShape": "400 for a session that doesn't open"}},
	},
	"server to client": {
		{title: "requests of servers dropped, answers to them refused until a call hangs", tests: map[string]string{
			"TestASessionIsServedByEveryDataPlane": "", "TestServersAskThroughTheAggregate": "",
			"TestEveryQuestionOfAServerComesThrough": "the asking session left out in answerAsked",
			"TestAnswersThatNobodyTakesAreRefused":   "202 whatever a server says to an answer"}},
		{title: "answers on two streams, GET to a server without a stream", tests: map[string]string{
			"TestRefusedVerbs":          "",
			"TestNothingComesTwice":     "relayMerged passes events twice",
			"TestServersWithoutAStream": "a stream that is refused for good ends the merged one"}},
		{title: "capabilities declared for the client, or not forwarded", tests: map[string]string{
			"TestServersHearTheClientsOwnCapabilities": "leg.open declares sampling for everybody"}},
		{title: "interim results pass by the guards", tests: map[string]string{
			"TestInterimResultsPassAndRetriesAreJudged": "retries with answers not held against grants in permit"}},
	},
	"versions and eras": {
		{title: "the client's revision sent to a server that agreed to another", tests: map[string]string{
			"TestEachServerHearsTheRevisionItAgreedTo": "the client's revision header forwarded to every owner",
			"TestWhatWasRemovedIsGone":                 "ping answered in every era",
			"TestTheAgreementIsTheServersWord":         "any offer agreed to"}},
		{title: "a fallback that knows one error code, a verdict kept that was none", bridging: true, tests: map[string]string{
			"TestMixedErasAreRefusedOnceKnown": "", "TestVerdictsDontSurviveAChangeOfConfig": "", "hop/TestVerdictsHealAndAge": "",
			"message/TestDiscoverAsEvidence": "", "message/TestInitializeAsEvidence": ""}},
		{title: "discovery that promises what isn't there", bridging: true, tests: map[string]string{
			"TestDiscoveryPromisesWhatIsThere": "discovery promised with servers of the earlier era"}},
		{title: "a request without a revision refused before anybody looks at its era", bridging: true, tests: map[string]string{
			"TestRequestsWithoutARevisionAreServed": "a missing revision refused in speak"}},
	},
	"HTTP, paths, buffering": {
		{title: "the relative address of the old transport, prefixes of paths", tests: map[string]string{
			"../face/TestAnOldClientHasAWholeSession": "", "../face/TestAnOldClientOfTheAggregate": "", "TestMethodsAndPaths": ""}},
		{title: "403 for the name of a proxy", tests: map[string]string{
			"TestHostsAndOriginsAreChecked": "",
			"TestNamesBehindAProxyPass":     "public names refused wherever the socket is"}},
		{title: "events held back by compression or buffers", tests: map[string]string{
			"TestEventsArriveAsTheyAreSent": "",
			"TestNobodyHoldsEventsBack":     "streams without X-Accel-Buffering"}},
		{title: "faults of kept-alive sessions and streams", tests: map[string]string{
			"TestQuietStreamsAreKeptAlive": "", "TestQuietStreamsOutliveTheWriteLimit": "", "hop/transport/TestStaleIdleConnections": "",
			"TestQuietStreamsOfSeveralAreKeptAlive": "merged streams without a keep-alive"}},
		{title: "servers that speak HTTP each in their own manner", tests: map[string]string{
			"hop/transport/TestUnusualButValidAnswers": "",
			"TestServersAnswerInAnyManner":             "event streams not read in leg.read"}},
	},
	"authentication": {
		{title: "the wrong scheme, host or path in resource_metadata behind TLS", tests: map[string]string{
			"TestDocumentsNameExactlyWhatWasAskedFor": "",
			"TestDocumentsNameTheOutsideBehindTLS":    "documents' origin from the Host header"}},
		{title: "a resource that isn't the URL that was used", tests: map[string]string{
			"wellknown/TestResourceIsTheURLOfTheRoute": "",
			"TestTheResourceIsTheURLThatWasUsed":       "a slash behind the resource"}},
	},
	"from the text": {
		{title: "a call sent again after a reset", tests: map[string]string{
			"hop/TestACallThatMayHaveRunIsNeverSentTwice": "", "hop/transport/TestBytesSentAndNoAnswerIsNeverSentAgain": "",
			"TestABrokenCallIsSentOnce": "every call repeatable in hints"}},
		{title: "a change of config that cuts subscriptions", tests: map[string]string{
			"TestAStreamEndsWithWhatOpenedIt":     "",
			"TestSubscriptionsEndWithTheirResult": "merged subscriptions end without their result"}},
		{title: "Mcp-Name not encoded again", tests: map[string]string{
			"TestMirroredNamesAreEncodedAnew": "Mcp-Name not encoded again in rewrite"}},
		{title: "names twice in an object", tests: map[string]string{
			"message/TestScanRefusals": "", "TestNoSpellingOfACallPassesTheGrants": "",
			"TestRepeatedNamesAreRefused": "repeated names let through by the scan"}},
		{title: "Accept narrowed to JSON", tests: map[string]string{
			"TestOutboundRequestsAreBuiltFromNothing": "",
			"TestServersAreOfferedBothForms":          "JSON alone accepted from servers"}},
		{title: "long streams that use up the connections to a server", tests: map[string]string{
			"TestStreamsPerCallerAreLimited":   "",
			"TestManyStreamsLeaveRoomForCalls": "50 places for streams"}},
		{title: "a batch for a server that takes none", tests: map[string]string{
			"TestABatchIsAnsweredInItsOrder": "", "TestABatchForSeveralServers": "", "TestBatchesAreOfOneRevision": ""}},
		{title: "Expect: 100-continue", tests: map[string]string{"TestExpectedContinue": ""}},
		{title: "trailers", tests: map[string]string{"TestHeadersThatTravel": "", "TestServersAnswerInAnyManner": "event streams not read in leg.read"}},
		{title: "bodies in gzip", tests: map[string]string{"TestBodiesInEveryCoding": ""}},
		{title: "streams that are resumed elsewhere", tests: map[string]string{"TestBrokenStreamsAreResumed": "Last-Event-ID not forwarded"}},
	},
}

// Each case has tests that exist, and each test of an edge case says which defect it was seen to find.
func TestEveryEdgeCaseHasItsTests(t *testing.T) {
	noted := map[string]bool{}
	for heading, cases := range edgeCases {
		for _, c := range cases {
			if len(c.tests) == 0 {
				t.Errorf("%s: %s: no test", heading, c.title)
			}
			for name, defect := range c.tests {
				dir, test := filepath.Split(name)
				file := testFile(t, filepath.Clean(dir+"."), test)
				if file == "" {
					t.Errorf("%s: %s: there is no %s", heading, c.title, name)
				}
				if edge := dir == "" && strings.HasPrefix(file, "edge_"); edge != (defect != "") {
					t.Errorf("%s: %s: %s in %s, the defect %q", heading, c.title, name, file, defect)
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

func testFile(t *testing.T, dir, name string) string {
	t.Helper()
	return testsIn(t, dir)[name]
}

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
