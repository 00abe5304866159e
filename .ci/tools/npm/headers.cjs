// Preload for Node clients that have no option for request headers: ADD_HEADERS is a JSON object of headers that every request gets, made
// with fetch or with node:http.
'use strict';
const http = require('node:http');
const { subscribe } = require('node:diagnostics_channel');

const extra = Object.entries(JSON.parse(process.env.ADD_HEADERS || '{}'));

subscribe('undici:request:create', ({ request }) => extra.forEach(([name, value]) => request.addHeader(name, value)));

const { request } = http;
http.request = (...args) => {
  const req = request(...args);
  for (const [name, value] of extra) if (!req.headersSent) req.setHeader(name, value);
  return req;
};
