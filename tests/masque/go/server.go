package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

func server(directory, corpusFile string) error {
	lines, err := corpus(corpusFile)
	if err != nil {
		return err
	}
	own, err := tls.LoadX509KeyPair(directory+"/gateway.pem", directory+"/gateway.key")
	if err != nil {
		return err
	}
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	running := http3.Server{
		TLSConfig:       http3.ConfigureTLSConfig(&tls.Config{Certificates: []tls.Certificate{own}}),
		QUICConfig:      &quic.Config{EnableDatagrams: true, InitialPacketSize: 1350},
		EnableDatagrams: true,
		Handler:         http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { serve(w, r, lines) }),
	}
	fmt.Printf("ready at %d\n", socket.LocalAddr().(*net.UDPAddr).Port)
	return running.Serve(socket)
}

func serve(writer http.ResponseWriter, asked *http.Request, lines []line) {
	capsuleProtocol := asked.Header.Get(http3.CapsuleProtocolHeader)
	if asked.Method != http.MethodConnect || asked.Proto != "connect-ip" || capsuleProtocol != "?1" {
		writer.WriteHeader(http.StatusNotImplemented)
		return
	}
	writer.Header().Set(http3.CapsuleProtocolHeader, "?1")
	writer.WriteHeader(http.StatusOK)
	writer.(http.Flusher).Flush()
	stream := writer.(http3.HTTPStreamer).HTTPStream()
	if number, bad := strings.CutPrefix(asked.URL.Path, "/bad/"); bad {
		at, err := strconv.Atoi(number)
		if err != nil || at < 0 || at >= len(lines) {
			stream.Close()
			return
		}
		stream.Write(lines[at].bytes)
		stream.Close()
		_, err = io.Copy(io.Discard, stream)
		fmt.Printf("bad %d: reset with %d\n", at, code(err))
		return
	}
	stream.Write(append([]byte{routes, byte(len(everywhere))}, everywhere...))
	go func() {
		for {
			datagram, err := stream.ReceiveDatagram(context.Background())
			if err != nil {
				return
			}
			send(stream, echo(datagram[1:]))
		}
	}()
	err := capsules(stream, func(kind uint64, value []byte) bool {
		if kind == request {
			// Whatever is asked for, the answer is 10.0.0.1.
			stream.Write(append([]byte{assign, 7, value[0], 4}, append(here[:], 32)...))
		}
		return false
	})
	if err == io.EOF {
		fmt.Println("tunnel: ended")
	}
	stream.Close()
}
