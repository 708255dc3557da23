package main

import (
	"context"
	"fmt"
	"io"

	"github.com/varvelog/varve/testenv/miniod"
	"github.com/varvelog/varve/testenv/stored"
)

// store is the process of an object store.
type store interface {
	Address() string
	Pid() int
	Kill() error
	Restart(ctx context.Context) error
}

// minioStore is the name of the store that rounds have unless a flag names another.
const minioStore = "minio"

// startStore starts a store. All of them have the same credentials.
func startStore(ctx context.Context, name, dir string, log io.Writer) (store, error) {
	if name == minioStore {
		binary, err := miniod.Find()
		if err != nil {
			return nil, err
		}
		server, err := miniod.Start(ctx, miniod.Config{Binary: binary, Dir: dir, Output: log})
		if err != nil {
			return nil, err // and not server: a nil *miniod.Server is not a nil interface
		}
		return server, nil
	}
	for _, program := range stored.Programs {
		if program.Name != name {
			continue
		}
		binary, err := program.Build(ctx, log)
		if err != nil {
			return nil, err
		}
		server, err := program.Start(ctx, binary, dir, log)
		if err != nil {
			return nil, err
		}
		return server, nil
	}
	return nil, fmt.Errorf("no store is named %q", name)
}
