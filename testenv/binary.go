package testenv

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// BinaryVariable names an environment variable with the path of the varve
// binary to test, instead of one built from the source.
const BinaryVariable = "VARVE_BIN"

const varvePackage = "github.com/varvelog/varve/cmd/varve"

// VarveBinary returns the path of the varve binary: the value of VARVE_BIN, or
// else one that is built from the source once per test process.
func VarveBinary(t testing.TB) string {
	t.Helper()
	path, err := varveBinary()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var varveBinary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv(BinaryVariable); path != "" {
		if _, err := os.Stat(path); err != nil || !filepath.IsAbs(path) {
			return "", fmt.Errorf("%s must be the absolute path of a varve binary, not %q", BinaryVariable, path)
		}
		return path, nil
	}
	// go test deletes the folder of the test binary after the last test; no
	// code of the test process could.
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find the test binary's folder: %w", err)
	}
	path := filepath.Join(filepath.Dir(self), "varve-under-test")
	output, err := exec.Command("go", "build", "-buildvcs=false", "-o", path, varvePackage).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build varve: %w\n%s", err, output)
	}
	return path, nil
})
