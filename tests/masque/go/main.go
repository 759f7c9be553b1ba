// A CONNECT-IP client and an echoing gateway on quic-go's http3: independent QUIC, TLS, HTTP/3 and QPACK.
//
//	peer client PORT DIRECTORY CORPUS    ends with 0 when all is as RFC 9484 says
//	peer server DIRECTORY CORPUS         says `ready at PORT`; at /bad/N it sends line N of the corpus
//	peer interface HOST PORT DIRECTORY   a client whose packets are those of an interface called `peer0`
//
// DIRECTORY holds gateway.pem and gateway.key, and client.pem and client.key. Written from the RFCs, apart from the product.
package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

const (
	assign, request, routes = 1, 2, 3
	messageError            = 0x10e
	datagramError           = 0x33
	limit                   = 60 * time.Second
	template                = "/.well-known/masque/ip/*/*/"
)

var everywhere, _ = hex.DecodeString("0400000000ffffffff00")

func main() {
	var err error
	switch {
	case len(os.Args) == 5 && os.Args[1] == "client":
		err = client(os.Args[2], os.Args[3], os.Args[4])
	case len(os.Args) == 4 && os.Args[1] == "server":
		err = server(os.Args[2], os.Args[3])
	case len(os.Args) == 5 && os.Args[1] == "interface":
		err = tunnel(os.Args[2], os.Args[3], os.Args[4])
	default:
		err = errors.New("usage: peer client PORT DIRECTORY CORPUS | server DIRECTORY CORPUS | interface HOST PORT DIRECTORY")
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

type line struct {
	name      string
	bytes     []byte
	malformed bool
}

// corpus reads the capsule streams that peers are tried with.
func corpus(path string) ([]line, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var lines []line
	for _, row := range strings.Split(string(text), "\n") {
		columns := strings.SplitN(row, "|", 3)
		if len(columns) != 3 || strings.HasPrefix(row, "#") {
			continue
		}
		bytes, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(columns[1]), " ", ""))
		if err != nil {
			return nil, err
		}
		lines = append(lines, line{columns[0], bytes, strings.Contains(columns[2], "error:")})
	}
	return lines, nil
}

// capsules reads capsules one by one and gives each to tell, until it says that it is enough.
func capsules(stream io.Reader, tell func(kind uint64, value []byte) bool) error {
	reader := &byteReader{stream}
	for {
		kind, err := varint(reader)
		if err != nil {
			return err
		}
		length, err := varint(reader)
		if err != nil {
			return err
		}
		value := make([]byte, length)
		if _, err := io.ReadFull(stream, value); err != nil {
			return err
		}
		if tell(kind, value) {
			return nil
		}
	}
}

type byteReader struct{ io.Reader }

func (r *byteReader) ReadByte() (byte, error) {
	var one [1]byte
	_, err := io.ReadFull(r, one[:])
	return one[0], err
}

func varint(reader io.ByteReader) (uint64, error) {
	first, err := reader.ReadByte()
	if err != nil {
		return 0, err
	}
	number := uint64(first & 0x3f)
	for left := 1<<(first>>6) - 1; left > 0; left-- {
		next, err := reader.ReadByte()
		if err != nil {
			return 0, err
		}
		number = number<<8 | uint64(next)
	}
	return number, nil
}

// receive takes one packet out of a tunnel.
func receive(stream http3.Stream) ([]byte, error) {
	waiting, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	datagram, err := stream.ReceiveDatagram(waiting)
	if err == nil && (len(datagram) == 0 || datagram[0] != 0) {
		err = fmt.Errorf("a datagram without a packet: %x", datagram)
	}
	if err != nil {
		return nil, err
	}
	return datagram[1:], nil
}

func send(stream http3.Stream, packet []byte) error {
	return stream.SendDatagram(append([]byte{0}, packet...))
}

// code is HTTP/3's error code a stream was ended with; 0 at its end in good order.
func code(err error) uint64 {
	var (
		message *http3.Error
		stream  *quic.StreamError
	)
	switch {
	case errors.As(err, &message):
		return uint64(message.ErrorCode)
	case errors.As(err, &stream):
		return uint64(stream.ErrorCode)
	}
	return 0
}

func equal(got, expected []byte) error {
	if bytes.Equal(got, expected) {
		return nil
	}
	return fmt.Errorf("got %x, expected %x", got, expected)
}
