package main

import "encoding/binary"

var here, far = [4]byte{10, 0, 0, 1}, [4]byte{203, 0, 113, 5}

func checksum(data []byte) uint16 {
	var sum uint32
	for at := 0; at < len(data); at += 2 {
		sum += uint32(data[at]) << 8
		if at+1 < len(data) {
			sum += uint32(data[at+1])
		}
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

func ipv4(source, destination [4]byte, protocol byte, payload []byte) []byte {
	packet := []byte{0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, protocol, 0, 0}
	packet = append(append(packet, source[:]...), destination[:]...)
	binary.BigEndian.PutUint16(packet[2:], uint16(20+len(payload)))
	binary.BigEndian.PutUint16(packet[10:], checksum(packet))
	return append(packet, payload...)
}

// ping is a request for an echo.
func ping(sequence uint16) []byte {
	icmp := append([]byte{8, 0, 0, 0, 0x12, 0x34, 0, 0}, "an echo request of the interop tests"...)
	binary.BigEndian.PutUint16(icmp[6:], sequence)
	binary.BigEndian.PutUint16(icmp[2:], checksum(icmp))
	return ipv4(here, far, 1, icmp)
}

// numbered is a packet with a number, length bytes in all.
func numbered(number uint32, length int) []byte {
	payload := make([]byte, length-20)
	for at := range payload {
		payload[at] = byte(number)
	}
	binary.BigEndian.PutUint32(payload, number)
	return ipv4(here, far, 253, payload)
}

// echo is what the other end makes of a packet: to where it came from, a request for an echo into the echo.
func echo(packet []byte) []byte {
	back := append([]byte(nil), packet...)
	copy(back[12:16], packet[16:20])
	copy(back[16:20], packet[12:16])
	if back[9] == 1 && back[20] == 8 {
		back[20], back[22], back[23] = 0, 0, 0
		binary.BigEndian.PutUint16(back[22:], checksum(back[20:]))
	}
	return back
}
