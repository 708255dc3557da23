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
	socket := socketAt(accepted.RemoteAddr())
	if !hasFile(os.Getpid(), socket) {
		t.Errorf("this process does not have its own socket, %q", socket)
	}
	if hasFile(os.Getppid(), socket) {
		t.Error("another process has this one's socket")
	}
	if other := socketAt(accepted.LocalAddr()); other == socket || !hasFile(os.Getpid(), other) {
		t.Errorf("the other end is %q, this one %q", other, socket)
	}
	if socket := socketAt(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}); socket != "" {
		t.Errorf("a socket that does not exist is %q", socket)
	}
}
