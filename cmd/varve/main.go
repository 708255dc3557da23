// Command varve is a Kafka-compatible log that lives in a bucket.
//
// It owns the process: arguments, environment, signals and the exit code, and
// the wiring of the node into the command line. Everything else is in the
// packages below cmd/internal.
package main

import (
	"context"
	"os"

	"github.com/varvelog/varve/cmd/internal/cli"
	"github.com/varvelog/varve/cmd/internal/node"
)

func main() {
	ctx, stop := cli.WithSignals(context.Background(), os.Exit)
	code := cli.Run(ctx, cli.Env{
		Args:    os.Args[1:],
		Environ: os.Environ(),
		Stdin:   os.Stdin,
		Stdout:  os.Stdout,
		Stderr:  os.Stderr,
		Serve:   node.Run,
	})
	stop()
	os.Exit(code)
}
