// What is known of Cloudflare WARP's edge over HTTP/2, on Node: an echo for one device's key.
//
//   node warp_edge.mjs DIRECTORY KEY    says `ready at PORT`; KEY is the SHA-256 of the device's SubjectPublicKeyInfo
//
// It takes a CONNECT that is not extended, with the protocol in a field of its own; packets are capsules without a Context
// ID; capsules of other types are sent, malformed ones too, and must not matter; none must come.

import { X509Certificate, createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import http2 from 'node:http2';
import * as ip from './packets.mjs';

const [directory, key] = process.argv.slice(2);
const server = http2.createSecureServer({
  cert: readFileSync(`${directory}/gateway.pem`), key: readFileSync(`${directory}/gateway.key`),
  requestCert: true, rejectUnauthorized: false,
});

function knows(socket) {
  const raw = socket.getPeerCertificate().raw;
  if (!raw) return false;
  const certificate = new X509Certificate(raw);
  const ofADay = Date.parse(certificate.validTo) - Date.parse(certificate.validFrom) <= 24 * 3600 * 1000;
  const name = createHash('sha256').update(certificate.publicKey.export({ type: 'spki', format: 'der' })).digest('hex');
  return ofADay && name === key && socket.servername === 'zt-masque.cloudflareclient.com';
}

server.on('stream', (stream, headers) => {
  stream.on('error', () => {});
  const wanted = {
    ':method': 'CONNECT', ':authority': 'cloudflareaccess.com:443', ':protocol': undefined, ':path': undefined,
    'cf-connect-proto': 'cf-connect-ip', 'pq-enabled': 'false', 'user-agent': '',
  };
  const wrong = Object.keys(wanted).filter((name) => headers[name] !== wanted[name]);
  if (wrong.length || !knows(stream.session.socket)) {
    console.log(wrong.length ? `wrong: ${JSON.stringify(headers)}` : 'stranger');
    stream.respond({ ':status': wrong.length ? 400 : 403 }, { endStream: true });
    return;
  }
  console.log('tunnel');
  stream.respond({ ':status': 200 });
  // An ADDRESS_ASSIGN that is none, and a type that nobody knows.
  stream.write(Buffer.concat([ip.capsule(ip.ADDRESS_ASSIGN, Buffer.from([0, 9])), ip.capsule(0x1234, Buffer.from([1]))]));
  const capsules = new ip.Capsules();
  stream.on('data', (bytes) => {
    const out = [];
    for (const [type, value] of capsules.feed(bytes)) {
      if (type === ip.DATAGRAM) out.push(ip.capsule(ip.DATAGRAM, ip.echo(value)));
      else console.log(`capsules: ${type}`);
    }
    if (out.length) stream.write(Buffer.concat(out));
  });
  stream.on('end', () => stream.end());
});
server.listen(0, '127.0.0.1', () => console.log(`ready at ${server.address().port}`));
