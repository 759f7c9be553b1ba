package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

const bulk, round, length = 2000, 20, 1200

// ask asks for a tunnel.
func ask(connection *http3.ClientConn, path, protocol string) (http3.RequestStream, *http.Response, error) {
	stream, err := connection.OpenRequestStream(context.Background())
	if err != nil {
		return nil, nil, err
	}
	head := &http.Request{
		Method: http.MethodConnect,
		Proto:  protocol,
		Host:   "gateway.example",
		URL:    &url.URL{Scheme: "https", Host: "gateway.example", Opaque: path, Path: path},
		Header: http.Header{http3.CapsuleProtocolHeader: {"?1"}},
	}
	if err := stream.SendRequestHeader(head); err != nil {
		return nil, nil, err
	}
	answer, err := stream.ReadResponse()
	return stream, answer, err
}

func open(connection *http3.ClientConn) (http3.RequestStream, error) {
	stream, answer, err := ask(connection, template, "connect-ip")
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != 200 || answer.Header.Get(http3.CapsuleProtocolHeader) != "?1" {
		return nil, fmt.Errorf("answered %d %v", answer.StatusCode, answer.Header)
	}
	return stream, nil
}

func client(port, directory, corpusFile string) error {
	lines, err := corpus(corpusFile)
	if err != nil {
		return err
	}
	authority, err := os.ReadFile(directory + "/gateway.pem")
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	own, err := tls.LoadX509KeyPair(directory+"/client.pem", directory+"/client.key")
	if err != nil {
		return err
	}
	settings := &tls.Config{
		ServerName: "gateway.example", RootCAs: roots, Certificates: []tls.Certificate{own}, NextProtos: []string{"h3"},
	}
	dialled, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	below, err := quic.DialAddr(dialled, "127.0.0.1:"+port, settings, &quic.Config{
		EnableDatagrams: true, InitialPacketSize: 1350,
	})
	if err != nil {
		return err
	}
	connection := (&http3.Transport{EnableDatagrams: true}).NewClientConn(below)
	<-connection.ReceivedSettings()
	if known := connection.Settings(); !known.EnableDatagrams || !known.EnableExtendedConnect {
		return fmt.Errorf("settings: %+v", known)
	}
	stream, err := open(connection)
	if err != nil {
		return err
	}
	if err := refused(connection); err != nil {
		return err
	}
	if err := furnish(stream); err != nil {
		return fmt.Errorf("address and routes: %w", err)
	}
	if err := carry(stream); err != nil {
		return fmt.Errorf("packets: %w", err)
	}
	malformed := 0
	for _, line := range lines {
		if err := tryLine(connection, line); err != nil {
			return fmt.Errorf("%s: %w", line.name, err)
		}
		if line.malformed {
			malformed++
		}
	}
	fmt.Printf("%d malformed streams reset with H3_MESSAGE_ERROR\n", malformed)

	// A Quarter Stream ID that is cut short ends the connection.
	if err := below.SendDatagram([]byte{0x40}); err != nil {
		return err
	}
	<-below.Context().Done()
	var end *quic.ApplicationError
	if !errors.As(context.Cause(below.Context()), &end) || end.ErrorCode != datagramError {
		return fmt.Errorf("the connection ended by %v", context.Cause(below.Context()))
	}
	fmt.Println("a bad Quarter Stream ID closed the connection with H3_DATAGRAM_ERROR")
	return nil
}

// refused asks for what there is not.
func refused(connection *http3.ClientConn) error {
	for _, wrong := range []struct {
		path, protocol string
		status         int
	}{{"/x", "connect-ip", 404}, {template, "websocket", 501}} {
		_, answer, err := ask(connection, wrong.path, wrong.protocol)
		if err != nil {
			return err
		}
		if answer.StatusCode != wrong.status {
			return fmt.Errorf("%s: answered %d", wrong.path, answer.StatusCode)
		}
	}
	if _, _, err := ask(connection, "/.well-known/masque/ip/10.0.0.1%2F8/*/", "connect-ip"); code(err) != messageError {
		return fmt.Errorf("invalid variables: %v", err)
	}
	return nil
}

// furnish asks for any IPv4 address, as request 7, after a capsule of a type that nobody knows.
func furnish(stream http3.RequestStream) error {
	wanted, _ := hex.DecodeString("404003123456" + "020707040000000020")
	if _, err := stream.Write(wanted); err != nil {
		return err
	}
	told := map[uint64]string{}
	err := capsules(stream, func(kind uint64, value []byte) bool {
		told[kind] = hex.EncodeToString(value)
		return told[assign] != "" && told[routes] != ""
	})
	if err == nil && (told[assign] != "07040a00000120" || told[routes] != "0400000000ffffffff00") {
		err = fmt.Errorf("told %v", told)
	}
	return err
}

func carry(stream http3.RequestStream) error {
	for n := uint16(1); n <= 5; n++ {
		if err := send(stream, ping(n)); err != nil {
			return err
		}
		got, err := receive(stream)
		if err != nil {
			return err
		}
		if err := equal(got, echo(ping(n))); err != nil {
			return err
		}
	}
	// Round by round: datagrams that find a full queue are lost, as they may be.
	for first := uint32(0); first < bulk; first += round {
		for n := first; n < first+round; n++ {
			if err := send(stream, numbered(n, length)); err != nil {
				return err
			}
		}
		for n := first; n < first+round; n++ {
			got, err := receive(stream)
			if err != nil {
				return err
			}
			if err := equal(got, echo(numbered(n, length))); err != nil {
				return err
			}
		}
	}
	fmt.Printf("5 pings, %d packets of %d bytes each way\n", bulk, length)
	return nil
}

func tryLine(connection *http3.ClientConn, line line) error {
	stream, err := open(connection)
	if err != nil {
		return err
	}
	if _, err := stream.Write(line.bytes); err != nil && !line.malformed {
		return err
	}
	if err := stream.Close(); err != nil && !line.malformed {
		return err
	}
	_, err = io.Copy(io.Discard, stream)
	if line.malformed && code(err) != messageError {
		return fmt.Errorf("ended by %v", err)
	}
	if !line.malformed && err != nil {
		return err
	}
	return nil
}
