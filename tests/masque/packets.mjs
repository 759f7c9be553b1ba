// IP packets and capsules, as far as the tests of HTTP/2 tunnels need them. Written from the RFCs, apart from the product.

export const DATAGRAM = 0, ADDRESS_ASSIGN = 1, ADDRESS_REQUEST = 2, ROUTE_ADVERTISEMENT = 3;

export function varint(number) {
  if (number < 0x40) return Buffer.from([number]);
  const bytes = Buffer.alloc(number < 0x4000 ? 2 : 4);
  if (number < 0x4000) bytes.writeUInt16BE(number | 0x4000);
  else bytes.writeUInt32BE((number | 0x80000000) >>> 0);
  return bytes;
}

/** [number, length]; undefined when there is too little. */
function readVarint(bytes, at) {
  if (at >= bytes.length) return undefined;
  const length = 1 << (bytes[at] >> 6);
  if (at + length > bytes.length) return undefined;
  let number = bytes[at] & 0x3f;
  for (let i = 1; i < length; i += 1) number = number * 256 + bytes[at + i];
  return [number, length];
}

export function capsule(type, value) {
  return Buffer.concat([varint(type), varint(value.length), value]);
}

export function datagram(packet) {
  return capsule(DATAGRAM, Buffer.concat([Buffer.from([0]), packet]));
}

/** Collects bytes and gives out [type, value]. */
export class Capsules {
  #rest = Buffer.alloc(0);

  *feed(bytes) {
    this.#rest = Buffer.concat([this.#rest, bytes]);
    for (;;) {
      const type = readVarint(this.#rest, 0);
      const length = type && readVarint(this.#rest, type[1]);
      if (!length) return;
      const start = type[1] + length[1];
      if (this.#rest.length < start + length[0]) return;
      const value = this.#rest.subarray(start, start + length[0]);
      this.#rest = this.#rest.subarray(start + length[0]);
      yield [type[0], value];
    }
  }
}

export function checksum(bytes) {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i] << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

export function ipv4(source, destination, protocol, payload) {
  const header = Buffer.from([0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, protocol, 0, 0, ...source, ...destination]);
  header.writeUInt16BE(20 + payload.length, 2);
  header.writeUInt16BE(checksum(header), 10);
  return Buffer.concat([header, payload]);
}

/** An ICMP echo request. */
export function ping(source, destination, sequence) {
  const icmp = Buffer.from([8, 0, 0, 0, 0x12, 0x34, 0, 0, ...Buffer.from('an echo request of the interop tests')]);
  icmp.writeUInt16BE(sequence, 6);
  icmp.writeUInt16BE(checksum(icmp), 2);
  return ipv4(source, destination, 1, icmp);
}

/** A packet with a number and `length` bytes in all. */
export function numbered(source, destination, number, length) {
  const payload = Buffer.alloc(length - 20, number & 0xff);
  payload.writeUInt32BE(number);
  return ipv4(source, destination, 253, payload);
}

/** What the other end makes of a packet: to where it came from, a request for an echo into the echo. */
export function echo(packet) {
  const back = Buffer.from(packet);
  packet.copy(back, 12, 16, 20);
  packet.copy(back, 16, 12, 16);
  if (back[9] === 1 && back[20] === 8) {
    back[20] = 0;
    back.writeUInt16BE(0, 22);
    back.writeUInt16BE(checksum(back.subarray(20)), 22);
  }
  return back;
}

/** The streams of `engine/src/masque/capsule/corpus.txt`: {name, bytes, malformed}. */
export function corpus(text) {
  return text.split('\n').filter((line) => line && !line.startsWith('#')).map((line) => {
    const [name, hex, expected] = line.split('|').map((column) => column.trim());
    return { name, bytes: Buffer.from(hex.replaceAll(' ', ''), 'hex'), malformed: expected.includes('error:') };
  });
}
