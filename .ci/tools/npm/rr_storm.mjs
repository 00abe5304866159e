// Sessions of a TypeScript client that call at an even pace, all at once. Prints a JSON line for each call: {"client", "token", "op", "from",
// "to", "error"}, times in milliseconds since 1970.
//
//   node rr_storm.mjs '{"library": 1|2, "headers": {...}, "lasts": MS, "limit": MS, "sessions": [{"client", "url", "ops", "count"}]}'
//
// Library 1 is @modelcontextprotocol/sdk, 2 is @modelcontextprotocol/client in era auto. An op is {"op": "tools"|"prompts"|"resources"|"tool"|
// "prompt"|"resource", "name", "arguments", "expect"}; $TOKEN in it is the call's own. Each session ends with three calls behind the time that
// the storm lasts, whose tokens begin with "end-".
import { Client as Client1 } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as Transport1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { CreateMessageRequestSchema, ElicitRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import { Client as Client2, StreamableHTTPClientTransport as Transport2 } from '@modelcontextprotocol/client';

const ask = JSON.parse(process.argv[2]);
const info = { name: 'rr-storm', version: '1' };
const capabilities = { elicitation: {}, sampling: {} };
const elicited = () => ({ action: 'accept', content: { name: 'Ada', username: 'ada', email: 'ada@example.com', check: true } });
const sampled = () => ({ role: 'assistant', model: 'none', content: { type: 'text', text: 'sampled by the client' } });
const pause = ms => new Promise(resolve => setTimeout(resolve, ms));

async function connect({ client: name, url }) {
  const options = { requestInit: { headers: { ...ask.headers, 'x-e2e-client': name } } };
  if (ask.library === 1) {
    const client = new Client1(info, { capabilities });
    client.setRequestHandler(ElicitRequestSchema, elicited);
    client.setRequestHandler(CreateMessageRequestSchema, sampled);
    await client.connect(new Transport1(new URL(url), options));
    return client;
  }
  const client = new Client2(info, { capabilities, versionNegotiation: { mode: 'auto' } });
  client.setRequestHandler('elicitation/create', elicited);
  client.setRequestHandler('sampling/createMessage', sampled);
  await client.connect(new Transport2(new URL(url), options));
  return client;
}

function perform(client, { op, name, arguments: args }, token) {
  const options = { timeout: ask.limit };
  const own = { _meta: { 'e2e/token': token } };
  switch (op) {
    case 'tools': return client.listTools(own, options);
    case 'prompts': return client.listPrompts(own, options);
    case 'resources': return client.listResources(own, options);
    case 'prompt': return client.getPrompt({ name, arguments: args, ...own }, options);
    case 'resource': return client.readResource({ uri: name, ...own }, options);
  }
  const params = { name, arguments: args, ...own };
  return ask.library === 1 ? client.callTool(params, undefined, options) : client.callTool(params, options);
}

async function one(client, session, op, token) {
  const line = { client: session.client, token, op: `${op.op} ${op.name ?? ''}`.trim(), from: Date.now() };
  try {
    const said = JSON.stringify(await perform(client, JSON.parse(JSON.stringify(op).replaceAll('$TOKEN', token)), token));
    if (!said.includes(op.expect.replaceAll('$TOKEN', token))) line.error = `unexpected: ${said.slice(0, 300)}`;
  } catch (error) {
    line.error = `${error.name}: ${error.message}`;
  }
  line.to = Date.now();
  console.log(JSON.stringify(line));
}

async function storm(session) {
  const client = await connect(session);
  const began = Date.now();
  for (let i = 0; i < session.count; i++) {
    await pause(Math.max(0, began + (i * ask.lasts) / session.count - Date.now()));
    await one(client, session, session.ops[i % session.ops.length], `${session.client}-${i}`);
  }
  await pause(Math.max(0, began + ask.lasts + 3000 - Date.now()));
  for (let i = 0; i < 3; i++) await one(client, session, session.ops[i], `end-${session.client}-${i}`);
  await client.close();
}

await Promise.all(ask.sessions.map(storm));
process.exit();
