package node

import (
	"net"
	"strings"
	"testing"
)

func TestATakenPortIsNamedWithTheSettingToChange(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, err = listen(ln.Addr().String(), "--http")
	if err == nil || strings.Count(err.Error(), "listen ") != 1 || !strings.HasPrefix(err.Error(), "listen tcp "+ln.Addr().String()) || !strings.HasSuffix(err.Error(), "--http") {
		t.Errorf("got %v", err)
	}
}
