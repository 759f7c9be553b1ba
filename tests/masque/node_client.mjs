// A CONNECT-IP client on Node's HTTP/2: node node_client.mjs PORT DIRECTORY CORPUS
// DIRECTORY holds the gateway's certificate, and one of ours with its key. Ends with 0 when all is as RFC 9484 says.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import http2 from 'node:http2';
import tls from 'node:tls';
import * as ip from './packets.mjs';

const [port, directory, corpusFile] = process.argv.slice(2);
const read = (name) => readFileSync(`${directory}/${name}`);
const [HERE, FAR] = [[10, 0, 0, 1], [203, 0, 113, 5]];
const BULK = 3000, LENGTH = 1300;
const PROTOCOL_ERROR = http2.constants.NGHTTP2_PROTOCOL_ERROR;

const session = http2.connect('https://gateway.example', {
  createConnection: () => tls.connect({
    host: '127.0.0.1', port: Number(port), servername: 'gateway.example', ALPNProtocols: ['h2'],
    ca: read('gateway.pem'), cert: read('client.pem'), key: read('client.key'),
  }),
});
const [settings] = await once(session, 'remoteSettings');
assert.equal(settings.enableConnectProtocol, true);

/** Asks for a tunnel; the stream, or the status it was refused with. */
async function ask(path = '/.well-known/masque/ip/*/*/', protocol = 'connect-ip') {
  const stream = session.request({
    ':method': 'CONNECT', ':protocol': protocol, ':scheme': 'https', ':authority': 'gateway.example', ':path': path,
    'capsule-protocol': '?1', authorization: 'Bearer of-the-interop-tests',
  }, { endStream: false });
  stream.closed_ = new Promise((resolve) => stream.on('close', () => resolve(stream.rstCode)));
  stream.on('error', () => {});
  const headers = await Promise.race([once(stream, 'response').then(([got]) => got, () => ({})), stream.closed_.then(() => ({}))]);
  if (headers[':status'] === 200) assert.equal(headers['capsule-protocol'], '?1');
  return [stream, headers[':status']];
}

for (const [path, protocol, expected] of [['/elsewhere', 'connect-ip', 404], [undefined, 'websocket', 501]]) {
  const [stream, status] = await ask(path, protocol);
  assert.equal(status, expected);
  stream.destroy();
}
const [bad] = await ask('/.well-known/masque/ip/10.0.0.1%2F8/*/');
assert.equal(await bad.closed_, PROTOCOL_ERROR);

const [stream, status] = await ask();
assert.equal(status, 200);
const capsules = new ip.Capsules();
let assigned, routes, arrived = [], wake = () => {};
stream.on('data', (bytes) => {
  for (const [type, value] of capsules.feed(bytes)) {
    if (type === ip.ADDRESS_ASSIGN) assigned = value;
    if (type === ip.ROUTE_ADVERTISEMENT) routes = value;
    if (type === ip.DATAGRAM) {
      assert.equal(value[0], 0);
      arrived.push(Buffer.from(value.subarray(1)));
    }
  }
  wake();
});
const until = async (done) => {
  while (!done()) await new Promise((resolve) => { wake = resolve; });
};

// Any IPv4 address, as request 7; a capsule of a type that nobody knows before it.
stream.write(Buffer.from('404003123456' + '020707040000000020', 'hex'));
await until(() => assigned?.length === 7 && routes);
assert.equal(assigned.toString('hex'), '07040a00000120');
assert.equal(routes.toString('hex'), '0400000000ffffffff00');

for (let n = 1; n <= 5; n += 1) {
  const request = ip.ping(HERE, FAR, n);
  stream.write(ip.datagram(request));
  await until(() => arrived.length);
  assert.deepEqual(arrived.shift(), ip.echo(request));
}
// As much as there is room for, several to a write; all comes back in order.
let next = 0;
for (let n = 0; n < BULK; n += 10) {
  const batch = Array.from({ length: 10 }, (_, i) => ip.datagram(ip.numbered(HERE, FAR, n + i, LENGTH)));
  if (!stream.write(Buffer.concat(batch))) await once(stream, 'drain');
}
await until(() => arrived.length === BULK);
for (const packet of arrived) assert.deepEqual(packet, ip.echo(ip.numbered(HERE, FAR, next++, LENGTH)));
stream.end();
assert.equal(await stream.closed_, 0);
console.log(`5 pings, ${BULK} packets of ${LENGTH} bytes each way`);

let malformed = 0;
for (const line of ip.corpus(readFileSync(corpusFile, 'utf8'))) {
  const [stream, status] = await ask();
  assert.equal(status, 200);
  stream.resume();
  stream.end(line.bytes);
  assert.equal(await stream.closed_, line.malformed ? PROTOCOL_ERROR : 0, line.name);
  malformed += Number(line.malformed);
}
console.log(`${malformed} malformed streams reset with PROTOCOL_ERROR`);
session.close();
