// Package testenv gives tests the real things varve runs with: a MinIO server,
// the varve binary as a process, and other tools.
//
// It promises that nothing outlives the test: every process it starts is ended
// by its pid and reaped before the test is over, and dies with the test binary.
// All listen on loopback. A test whose server or tool is missing is skipped,
// with a message that names it and the command that installs it.
// It knows only varve's flags and its health URL, and imports none of varve's
// packages, so that all of their tests can import it.
package testenv

import (
	"os/exec"
	"testing"

	"github.com/varvelog/varve/testenv/proc"
)

// LookTool returns the path of a program that the machine may have, and skips
// the test if it is missing.
func LookTool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed; on Debian: apt-get install %s", name, name)
	}
	return path
}

// FreeAddr returns a loopback address, 127.0.0.1:port, on which nothing
// listens, never the same one twice in a process.
func FreeAddr(t testing.TB) string {
	t.Helper()
	addr, err := proc.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}
