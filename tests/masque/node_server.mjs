// A CONNECT-IP gateway on Node's HTTP/2 that echoes: node node_server.mjs DIRECTORY CORPUS
// DIRECTORY holds its certificate and key. At /bad/N it sends line N of the corpus and tells what its stream was reset with.

import { readFileSync } from 'node:fs';
import http2 from 'node:http2';
import * as ip from './packets.mjs';

const [directory, corpusFile] = process.argv.slice(2);
const lines = ip.corpus(readFileSync(corpusFile, 'utf8'));
const server = http2.createSecureServer({
  cert: readFileSync(`${directory}/gateway.pem`), key: readFileSync(`${directory}/gateway.key`),
  settings: { enableConnectProtocol: true, initialWindowSize: 1 << 20 },
});

server.on('stream', (stream, headers) => {
  stream.on('error', () => {});
  if (headers[':method'] !== 'CONNECT' || headers[':protocol'] !== 'connect-ip' || headers['capsule-protocol'] !== '?1') {
    stream.respond({ ':status': 501 }, { endStream: true });
    return;
  }
  stream.respond({ ':status': 200, 'capsule-protocol': '?1' });
  const bad = /^\/bad\/([0-9]+)$/.exec(headers[':path']);
  if (bad) {
    stream.on('close', () => console.log(`bad ${bad[1]}: reset with ${stream.rstCode}`));
    stream.resume();
    stream.end(lines[Number(bad[1])].bytes);
    return;
  }
  const capsules = new ip.Capsules();
  stream.write(ip.capsule(ip.ROUTE_ADVERTISEMENT, Buffer.from('0400000000ffffffff00', 'hex')));
  stream.on('data', (bytes) => {
    const out = [];
    for (const [type, value] of capsules.feed(bytes)) {
      // Whatever is asked for, the answer is 10.0.0.1.
      if (type === ip.ADDRESS_REQUEST) {
        out.push(ip.capsule(ip.ADDRESS_ASSIGN, Buffer.from([value[0], 4, 10, 0, 0, 1, 32])));
      }
      if (type === ip.DATAGRAM && value[0] === 0) out.push(ip.datagram(ip.echo(value.subarray(1))));
    }
    if (out.length) stream.write(Buffer.concat(out));
  });
  stream.on('end', () => stream.end());
  stream.on('close', () => console.log(`tunnel: closed with ${stream.rstCode}`));
});
server.listen(0, '127.0.0.1', () => console.log(`ready at ${server.address().port}`));
