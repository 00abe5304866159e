// One session of a TypeScript 1.x client, step by step. Prints a JSON line for each step: {"step", "from", "to", "error", "told"}, times in
// milliseconds since 1970; what was told is for the reader.
//
//   node rr_session.mjs '{"url": URL, "headers": {...}, "changes": [tools that make a server tell of changed lists]}'
//
// Names of an endpoint of several servers are found by their ends. The client breaks its own connections to show that streams are resumed.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import * as types from '@modelcontextprotocol/sdk/types.js';

const ask = JSON.parse(process.argv[2]);
const asked = [], told = [], errors = [];
let cuts = []; // {matches(init), now(text), done()}: the connection breaks as soon as its text so far is enough

// breaking relays a stream until its text is enough, and then breaks it on both sides.
function breaking(body, cut) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let text = '';
  return new ReadableStream({
    async pull(controller) {
      const { value, done } = await reader.read();
      if (done) return controller.close();
      controller.enqueue(value);
      text += decoder.decode(value, { stream: true });
      if (cut.now?.(text)) {
        await reader.cancel();
        controller.error(new Error('cut by the test'));
        cut.done();
      }
    },
    cancel: reason => reader.cancel(reason),
  });
}

async function fetching(url, init) {
  const response = await fetch(url, init);
  const cut = cuts.find(c => c.matches(init));
  if (!cut || !response.body) return response;
  cuts = cuts.filter(c => c !== cut);
  return new Response(breaking(response.body, cut), { status: response.status, headers: response.headers });
}

const client = new Client({ name: 'rr-session', version: '1' }, { capabilities: { elicitation: {}, sampling: {}, roots: { listChanged: true } } });
client.setRequestHandler(types.ElicitRequestSchema, r => (asked.push(r.method), { action: 'accept', content: { name: 'Ada', check: true } }));
client.setRequestHandler(types.CreateMessageRequestSchema, r => (asked.push(r.method),
  { role: 'assistant', model: 'none', content: { type: 'text', text: 'sampled by the client' } }));
client.setRequestHandler(types.ListRootsRequestSchema, r => (asked.push(r.method), { roots: [{ uri: 'file:///e2e', name: 'e2e' }] }));
client.fallbackNotificationHandler = async n => { told.push(n); };
client.onerror = e => errors.push(String(e.message));

const transport = new StreamableHTTPClientTransport(new URL(ask.url), { requestInit: { headers: ask.headers }, fetch: fetching,
  reconnectionOptions: { initialReconnectionDelay: 1500, maxReconnectionDelay: 5000, reconnectionDelayGrowFactor: 1.5, maxRetries: 5 } });

const pause = ms => new Promise(resolve => setTimeout(resolve, ms));
async function until(what, ok, limit = 10000) {
  for (const end = Date.now() + limit; ;) {
    const v = await ok();
    if (v) return v;
    if (Date.now() > end) throw new Error(`${what}: not within ${limit} ms`);
    await pause(20);
  }
}
function check(ok, what) { if (!ok) throw new Error(what); }

let tools = [], prompts = [], resources = [];
const find = (list, end) => {
  const hits = list.filter(x => x === end || x.endsWith(`-${end}`) && !x.startsWith('sdk_'));
  check(hits.length === 1, `${hits.length} names end with ${end}: ${list}`);
  return hits[0];
};
const text = result => result.content.map(c => c.text ?? '').join('\n');
async function call(end, args = {}, options = {}) {
  const result = await client.callTool({ name: find(tools, end), arguments: args }, undefined, { timeout: 20000, ...options });
  check(!result.isError, `${end}: ${text(result)}`);
  return result;
}
const thrice = async f => { for (const i of [1, 2, 3]) await f(i); };
const long = 'trigger-long-running-operation';
const updates = uri => told.filter(n => n.method === 'notifications/resources/updated' && n.params.uri === uri).length;

const steps = {
  async initialize() {
    await client.connect(transport);
    let open; // the GET stream is opened behind our back
    await until('requests of the handshake', () => (open = errors.length === 0 && transport.sessionId) && pause(700).then(() => true));
    return client.getServerCapabilities();
  },
  async lists() {
    const all = async () => JSON.stringify([(await client.listTools()).tools.map(x => x.name).filter(n => !n.includes('__transient')),
      (await client.listPrompts()).prompts.map(x => x.name),
      (await client.listResources()).resources.map(x => x.uri), (await client.listResourceTemplates()).resourceTemplates.map(x => x.uriTemplate)]);
    const first = await all();
    await thrice(async () => { const again = await all(); check(again === first, `the lists differ:\n${first}\n${again}`); });
    [tools, prompts, resources] = JSON.parse(first);
    return [tools.length, prompts.length, resources.length];
  },
  calls: () => thrice(async i => {
    check(text(await call('echo', { message: `m${i}` })) === `Echo: m${i}`, 'echo');
    check(text(await call('get-sum', { a: i, b: 2 })).includes(`${i + 2}`), 'sum');
  }),
  prompts: () => thrice(async i => {
    const got = await client.getPrompt({ name: find(prompts, 'args-prompt'), arguments: { city: `city${i}` } });
    check(JSON.stringify(got).includes(`city${i}`), 'prompt');
  }),
  resources: () => thrice(async () => {
    const uri = resources.find(u => u.includes('architecture'));
    const got = await client.readResource({ uri });
    check(got.contents[0].uri === uri, `read ${uri}, got ${got.contents[0].uri}`);
    const linked = (await call('get-resource-links', { count: 1 })).content.find(c => c.type === 'resource_link');
    check((await client.readResource({ uri: linked.uri })).contents[0].uri === linked.uri, `a link can't be read: ${linked.uri}`);
  }),
  completion: () => thrice(async () => {
    const got = await client.complete({ ref: { type: 'ref/prompt', name: find(prompts, 'completable-prompt') }, argument: { name: 'department', value: 'E' } });
    check(got.completion.values.length > 0, 'completion');
  }),
  elicitation: () => thrice(async i => {
    check(text(await call('trigger-elicitation-request')).includes('Name: Ada'), 'elicitation');
    check(asked.filter(m => m === 'elicitation/create').length === i, `asked ${asked}`);
  }),
  sampling: () => thrice(async i => {
    check(text(await call('trigger-sampling-request', { prompt: `p${i}`, maxTokens: 10 })).includes('sampled by the client'), 'sampling');
    check(asked.filter(m => m === 'sampling/createMessage').length === i, `asked ${asked}`);
  }),
  async roots() {
    await client.sendRootsListChanged();
    await thrice(async () => check(text(await call('get-roots-list')).includes('file:///e2e'), 'roots'));
    return asked.filter(m => m === 'roots/list').length;
  },
  progress: () => thrice(async () => {
    const seen = [];
    await call(long, { duration: 0.3, steps: 3 }, { onprogress: p => seen.push(p.progress) });
    check(`${seen}` === '1,2,3', `progress ${seen}`);
  }),
  cancellation: () => thrice(async () => {
    const stop = new AbortController();
    const result = call(long, { duration: 3, steps: 30 }, { signal: stop.signal, onprogress: p => p.progress === 2 && stop.abort('enough') });
    const end = await result.then(() => 'a result', e => `${e}`);
    check(end.includes('enough'), `cancelled, and got ${end}`);
    await pause(100); // the notification is on its way
  }),
  async logging() {
    await thrice(async () => { await client.setLoggingLevel('debug'); await client.ping(); });
    await call('toggle-simulated-logging');
    await until('a log message', () => told.some(n => n.method === 'notifications/message'));
    await call('toggle-simulated-logging');
  },
  async subscription() {
    const uri = resources.find(u => u.includes('features'));
    await client.subscribeResource({ uri });
    await call('toggle-subscriber-updates');
    await until('an update', () => updates(uri) > 0);
    await call('toggle-subscriber-updates');
    await client.unsubscribeResource({ uri });
    return told.find(n => n.method === 'notifications/resources/updated').params.uri;
  },
  async changes() {
    for (const [tool, args, method] of ask.changes) {
      const before = told.filter(n => n.method === method).length;
      await call(tool, args);
      await until(`${method} after ${tool}`, () => told.filter(n => n.method === method).length > before);
    }
    await thrice(() => client.listTools());
    return told.filter(n => n.method.endsWith('list_changed')).map(n => n.method);
  },
  async resumption() {
    const broken = [];
    const one = async i => {
      const seen = [];
      let cutAt;
      // Behind the second step; the operation goes on, and is over when the client comes back.
      cuts.push({ matches: init => init.method === 'POST' && init.body?.includes(`"steps":${i + 4}`),
        now: t => t.split('"method":"notifications/progress"').length > 2,
        done: () => { cutAt = Date.now(); broken.push(i); } });
      const result = await call(long, { duration: 0.8, steps: i + 4 }, { onprogress: p => seen.push(p.progress) });
      check(cutAt && Date.now() - cutAt > 1000, 'the stream was not broken');
      check(text(result).includes(`Steps: ${i + 4}`), `result ${text(result)}`);
      check(seen.length === i + 4 && seen.every((v, n) => v === n + 1), `progress ${seen}`);
    };
    await thrice(one);
    return broken;
  },
  // The GET stream breaks behind an update; what is told while it is away is brought by the stream that resumes it, and all servers are heard again.
  async listening() {
    const uri = resources.find(u => u.includes('startup'));
    await client.subscribeResource({ uri });
    await call('toggle-subscriber-updates');
    await until('an update', () => updates(uri) === 1);
    let gone = false;
    getCut.now = () => true;
    getCut.done = () => { gone = true; };
    await call('toggle-subscriber-updates');
    await call('toggle-subscriber-updates');
    await until('the GET stream breaks', () => gone);
    check(updates(uri) === 2, 'the second update broke the stream');
    await call('toggle-subscriber-updates');
    await call('toggle-subscriber-updates');
    await until('the update told meanwhile', () => updates(uri) === 3);
    await call('toggle-subscriber-updates');
    for (const [tool, args, method] of ask.changes.filter(c => c[3])) {
      const before = told.filter(n => n.method === method).length;
      await call(tool, args);
      await until(`${method} after ${tool} on the resumed stream`, () => told.filter(n => n.method === method).length > before);
    }
  },
  async end() {
    const session = transport.sessionId;
    await transport.terminateSession();
    await thrice(async () => {
      const gone = await fetch(ask.url, { method: 'POST',
        body: JSON.stringify({ jsonrpc: '2.0', id: 9, method: 'tools/call', params: { name: find(tools, 'echo'), arguments: { message: 'x' } } }),
        headers: { ...ask.headers, 'content-type': 'application/json', accept: 'application/json, text/event-stream', 'mcp-session-id': session,
          'mcp-protocol-version': '2025-11-25' } });
      check(gone.status === 404 || gone.status === 400, `a session that was ended: ${gone.status} ${await gone.text()}`);
    });
    await client.close();
  },
};

// The GET stream runs through a cut that waits for its time.
const getCut = { matches: init => init.method === 'GET', done: () => {} };
cuts.push(getCut);

for (const [step, run] of Object.entries(steps)) {
  await pause(100); // the access lines of the step before are behind us
  const line = { step, from: Date.now() };
  const end = setTimeout(() => { console.log(JSON.stringify({ ...line, error: 'stuck', errors })); process.exit(1); }, 40000);
  try {
    line.told = await run();
  } catch (e) {
    line.error = `${e.message}`;
  }
  clearTimeout(end);
  line.to = Date.now();
  line.errors = errors.splice(0);
  console.log(JSON.stringify(line));
}
process.exit();
