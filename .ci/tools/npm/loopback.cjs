// Preload for Node servers that would listen on every interface: they get BIND_HOST (default 127.0.0.1) instead. It replaces the step that
// binds, which is synchronous, so that address() is known as soon as listen() returns.
'use strict';
const { Server } = require('node:net');

const host = process.env.BIND_HOST || '127.0.0.1';
const everywhere = [null, undefined, '', '::', '0.0.0.0'];
const bind = Server.prototype._listen2;

Server.prototype._listen2 = function (address, port, family, ...rest) {
  const isPort = typeof port === 'number' && port >= 0;
  return isPort && everywhere.includes(address) ? bind.call(this, host, port, 4, ...rest) : bind.call(this, address, port, family, ...rest);
};
