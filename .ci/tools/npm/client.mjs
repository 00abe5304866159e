// A small MCP client: connects, lists tools, makes the calls it was asked for, ends the session and prints one JSON line of what it saw.
//
//   node client.mjs '{"library": 1|2, "mode": "auto"|"2026-07-28", "url": URL, "headers": {...}, "calls": [{"tool", "arguments", "progress"}]}'
//
// Library 1 is @modelcontextprotocol/sdk, 2 is @modelcontextprotocol/client. Requests of the server (elicitation, sampling, roots) are answered.
import { Client as Client1 } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as Transport1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { CreateMessageRequestSchema, ElicitRequestSchema, ListRootsRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import { Client as Client2, StreamableHTTPClientTransport as Transport2 } from '@modelcontextprotocol/client';

const ask = JSON.parse(process.argv[2]);
const seen = { asked: [], notifications: [], calls: [] };
const info = { name: 'hopgate-e2e', version: '1' };
const capabilities = { elicitation: {}, sampling: {}, roots: { listChanged: true } };

const answers = {
  'elicitation/create': () => ({ action: 'accept', content: { name: 'Ada', check: true } }),
  'sampling/createMessage': () => ({ role: 'assistant', model: 'none', content: { type: 'text', text: 'sampled by the client' } }),
  'roots/list': () => ({ roots: [{ uri: 'file:///e2e', name: 'e2e' }] }),
};
const note = method => { seen.asked.push(method); return answers[method](); };

async function connect() {
  const url = new URL(ask.url);
  const requestInit = { headers: ask.headers ?? {} };
  if (ask.library === 1) {
    const client = new Client1(info, { capabilities });
    for (const schema of [ElicitRequestSchema, CreateMessageRequestSchema, ListRootsRequestSchema]) {
      client.setRequestHandler(schema, request => note(request.method));
    }
    const transport = new Transport1(url, { requestInit });
    await client.connect(transport);
    return { client, transport, revision: transport.protocolVersion };
  }
  const mode = ask.mode === 'auto' ? 'auto' : { pin: ask.mode };
  const client = new Client2(info, { capabilities, versionNegotiation: { mode } });
  for (const method of Object.keys(answers)) client.setRequestHandler(method, () => note(method));
  const transport = new Transport2(url, { requestInit });
  await client.connect(transport);
  return { client, transport, revision: client.getNegotiatedProtocolVersion() };
}

async function call(client, { tool, arguments: args = {}, progress }) {
  const steps = [];
  const options = { timeout: 20000, ...(progress ? { onprogress: p => steps.push(p.progress) } : {}) };
  const params = { name: tool, arguments: args };
  const result = ask.library === 1 ? await client.callTool(params, undefined, options) : await client.callTool(params, options);
  return { tool, isError: result.isError ?? false, content: result.content, structured: result.structuredContent, steps };
}

async function main() {
  const { client, transport, revision } = await connect();
  seen.revision = revision;
  seen.server = client.getServerVersion()?.name;
  seen.tools = (await client.listTools()).tools.map(tool => tool.name);
  for (const c of ask.calls ?? []) seen.calls.push(await call(client, c));
  if (transport.sessionId) await transport.terminateSession();
  await client.close();
}

try {
  await main();
} catch (error) {
  seen.error = `${error.name}: ${error.message}`;
  process.exitCode = 1;
}
console.log(JSON.stringify(seen));
process.exit();
