package nodes

import (
	"net"
	"os"
	"testing"
)

func TestASocketIsFoundAtTheProcessThatHasIt(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	accepted, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	if !ownsSocket(os.Getpid(), accepted.RemoteAddr()) {
		t.Error("this process does not have its own socket")
	}
	if ownsSocket(os.Getppid(), accepted.RemoteAddr()) {
		t.Error("another process has this one's socket")
	}
	if ownsSocket(os.Getpid(), &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}) {
		t.Error("a socket that does not exist has an owner")
	}
}
