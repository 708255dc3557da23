package miniod

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
)

// BinaryVariable names an environment variable with the path of a MinIO binary
// to use instead of the one that Build makes.
const BinaryVariable = "VARVE_MINIO_BIN"

// ErrNoBinary says that MinIO has not been built yet.
var ErrNoBinary = errors.New("no MinIO binary; build it with: make minio")

// module is the Go module of varve, by whose go.mod the root of the
// repository is found.
const module = "github.com/varvelog/varve"

var (
	moduleLine = regexp.MustCompile(`(?m)^module ` + regexp.QuoteMeta(module) + `$`)
	minioLine  = regexp.MustCompile(`(?m)^(?:require)?\s+github\.com/minio/minio (v\S+)`)
)

// Find returns the path of the binary, or an error that is ErrNoBinary.
func Find() (string, error) {
	path, err := binaryPath()
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(path); err != nil {
		if errors.Is(err, os.ErrNotExist) && os.Getenv(BinaryVariable) == "" {
			return "", fmt.Errorf("%s: %w", path, ErrNoBinary)
		}
		return "", fmt.Errorf("find MinIO: %w", err)
	}
	return path, nil
}

// binaryPath returns where the binary is or will be: the path in
// VARVE_MINIO_BIN, else varve/minio-<version>-<system>-<hash> in the user's
// cache folder. The hash is of the pin. The Go version is no part of it, since a binary that an
// older Go built serves as well.
func binaryPath() (string, error) {
	if path := os.Getenv(BinaryVariable); path != "" {
		return path, nil
	}
	dir, err := pinDir()
	if err != nil {
		return "", err
	}
	goMod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		return "", fmt.Errorf("read MinIO's version: %w", err)
	}
	goSum, err := os.ReadFile(filepath.Join(dir, "go.sum"))
	if err != nil {
		return "", fmt.Errorf("read MinIO's dependencies: %w", err)
	}
	version := minioLine.FindSubmatch(goMod)
	if version == nil {
		return "", fmt.Errorf("read MinIO's version: %s/go.mod requires no github.com/minio/minio", dir)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache folder (set %s to go without): %w", BinaryVariable, err)
	}
	hash := sha256.Sum256(append(goMod, goSum...))
	name := fmt.Sprintf("minio-%s-%s-%s-%x", version[1], runtime.GOOS, runtime.GOARCH, hash[:4])
	return filepath.Join(cache, "varve", name), nil
}

// pinDir returns the folder of the module that pins MinIO, in the repository
// that the working directory is in.
func pinDir() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the repository: %w", err)
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		goMod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && moduleLine.Match(goMod) {
			return filepath.Join(dir, "testenv", "miniod", "pin"), nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("find the repository: no go.mod of %s in or above %s (run from a clone, or set %s)",
				module, start, BinaryVariable)
		}
	}
}
