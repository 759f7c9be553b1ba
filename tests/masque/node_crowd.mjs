// Idle CONNECT-IP tunnels on Node's HTTP/2, each on a connection of its own: node node_crowd.mjs HOST PORT COUNT
// Says `ready COUNT` when all have an address, and holds them until it is ended.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import http2 from 'node:http2';
import tls from 'node:tls';
import * as ip from './packets.mjs';

const [host, port, count] = process.argv.slice(2);

async function tunnel() {
  const session = http2.connect(`https://${host}:${port}`, {
    // Whose it is plays no part here.
    createConnection: () => tls.connect({ host, port: Number(port), ALPNProtocols: ['h2'], rejectUnauthorized: false }),
  });
  session.on('error', (error) => { throw error; });
  await once(session, 'remoteSettings');
  const stream = session.request({
    ':method': 'CONNECT', ':protocol': 'connect-ip', ':scheme': 'https', ':authority': `${host}:${port}`,
    ':path': '/.well-known/masque/ip/*/*/', 'capsule-protocol': '?1',
  }, { endStream: false });
  const [headers] = await once(stream, 'response');
  assert.equal(headers[':status'], 200);
  const capsules = new ip.Capsules();
  // Any IPv4 address, as request 7.
  stream.write(Buffer.from('020707040000000020', 'hex'));
  await new Promise((resolve) => stream.on('data', (bytes) => {
    for (const [type, value] of capsules.feed(bytes)) if (type === ip.ADDRESS_ASSIGN && value.length === 7) resolve();
  }));
}

for (let n = 0; n < Number(count); n += 1) await tunnel();
console.log(`ready ${count}`);
