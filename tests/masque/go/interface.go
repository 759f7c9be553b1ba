package main

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"unsafe"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// tun is an interface of IP packets, 1200 bytes at most.
func tun(name string) (*os.File, error) {
	opened, err := syscall.Open("/dev/net/tun", syscall.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	// TUNSETIFF with IFF_TUN and IFF_NO_PI.
	var wanted struct {
		name  [16]byte
		flags uint16
		_     [22]byte
	}
	copy(wanted.name[:], name)
	wanted.flags = 0x1001
	const setInterface = 0x400454ca
	if _, _, code := syscall.Syscall(syscall.SYS_IOCTL, uintptr(opened), setInterface, uintptr(unsafe.Pointer(&wanted))); code != 0 {
		return nil, code
	}
	return os.NewFile(uintptr(opened), name), exec.Command("ip", "link", "set", name, "mtu", "1200", "up").Run()
}

// tunnel carries the packets of an interface until the connection ends.
func tunnel(host, port, directory string) error {
	own, err := tls.LoadX509KeyPair(directory+"/client.pem", directory+"/client.key")
	if err != nil {
		return err
	}
	settings := &tls.Config{
		ServerName: "gateway.example", InsecureSkipVerify: true, Certificates: []tls.Certificate{own}, NextProtos: []string{"h3"},
	}
	below, err := quic.DialAddr(context.Background(), net.JoinHostPort(host, port), settings, &quic.Config{
		EnableDatagrams: true, InitialPacketSize: 1350,
	})
	if err != nil {
		return err
	}
	connection := (&http3.Transport{EnableDatagrams: true}).NewClientConn(below)
	<-connection.ReceivedSettings()
	stream, err := open(connection)
	if err != nil {
		return err
	}
	wanted, _ := hex.DecodeString("020707040000000020")
	if _, err := stream.Write(wanted); err != nil {
		return err
	}
	var address net.IP
	err = capsules(stream, func(kind uint64, value []byte) bool {
		if kind == assign && len(value) == 7 && value[0] == 7 {
			address = net.IP(value[2:6])
		}
		return address != nil
	})
	if err != nil {
		return err
	}
	packets, err := tun("peer0")
	if err != nil {
		return err
	}
	if err := exec.Command("ip", "address", "add", address.String()+"/24", "dev", "peer0").Run(); err != nil {
		return err
	}
	go func() {
		packet := make([]byte, 2000)
		for {
			length, err := packets.Read(packet)
			if err != nil {
				return
			}
			send(stream, packet[:length])
		}
	}()
	fmt.Printf("address %s\n", address)
	for {
		datagram, err := stream.ReceiveDatagram(context.Background())
		if err != nil {
			return err
		}
		if len(datagram) > 1 && datagram[0] == 0 {
			packets.Write(datagram[1:])
		}
	}
}
