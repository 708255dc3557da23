package proc

import (
	"bytes"
	"strings"
	"testing"
)

func TestTailKeepsTheEndAndSaysThatItDropped(t *testing.T) {
	var log tail
	line := bytes.Repeat([]byte("x"), 999)
	for range 3 * tailBytes / 1000 {
		if n, err := log.Write(append(line, '\n')); n != 1000 || err != nil {
			t.Fatalf("Write = %d, %v", n, err)
		}
	}
	if _, err := log.Write([]byte("the end\n")); err != nil {
		t.Fatal(err)
	}
	got := log.String()
	if !strings.HasSuffix(got, "x\nthe end\n") {
		t.Errorf("the end is lost: %q", got[max(0, len(got)-20):])
	}
	if !strings.HasPrefix(got, "[earlier output dropped]\n") {
		t.Errorf("starts with %q", got[:min(len(got), 40)])
	}
	if len(got) > 2*tailBytes+100 {
		t.Errorf("keeps %d bytes", len(got))
	}
}
