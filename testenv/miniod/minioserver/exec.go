package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/varvelog/varve/testenv/miniod"
	"github.com/varvelog/varve/testenv/proc"
)

// commandGrace is how long the command has to end after its server has died.
const commandGrace = 30 * time.Second

type execConfig struct {
	dir, address string
	command      []string
}

func parseExec(args []string) (execConfig, error) {
	var config execConfig
	flags := pflag.NewFlagSet("minioserver exec", pflag.ContinueOnError)
	flags.Usage = func() {}
	flags.SetInterspersed(false) // flags after the command are its own
	flags.StringVar(&config.dir, "dir", "", "folder of the server; a temporary one if empty")
	flags.StringVar(&config.address, "address", "", "loopback address of the server; a free one if empty")
	if err := flags.Parse(args); err != nil {
		return config, fmt.Errorf("%w\n%w", err, errUsage)
	}
	if config.command = flags.Args(); len(config.command) == 0 {
		return config, fmt.Errorf("no command\n%w", errUsage)
	}
	return config, nil
}

// run runs the command next to a server.
func (c execConfig) run(signals <-chan os.Signal) (code int, err error) {
	command, err := exec.LookPath(c.command[0])
	if err != nil {
		return 1, fmt.Errorf("find command: %w", err)
	}
	binary, err := build(signals)
	if err != nil {
		return 1, err
	}
	dir := c.dir
	if dir == "" {
		if dir, err = os.MkdirTemp("", "varve-minio-"); err != nil {
			return 1, fmt.Errorf("make a folder for MinIO: %w", err)
		}
		defer os.RemoveAll(dir)
	}
	var server *miniod.Server
	if err := untilSignal(signals, func(ctx context.Context) (err error) {
		server, err = miniod.Start(ctx, miniod.Config{Binary: binary, Dir: dir, Address: c.address})
		return err
	}); err != nil {
		if server != nil { // the signal came when it was up
			err = errors.Join(err, server.Stop())
		}
		return 1, err
	}
	code, err = supervise(command, c.command[1:], server, signals)
	if stopErr := server.Stop(); stopErr != nil {
		return max(code, 1), errors.Join(err, stopErr)
	}
	return code, err
}

// supervise runs the command to its end and returns its exit code.
func supervise(command string, args []string, server *miniod.Server, signals <-chan os.Signal) (int, error) {
	process, err := proc.Start(proc.Command{Path: command, Args: args, Env: commandEnv(server.Address()),
		Stdout: os.Stdout, Stderr: os.Stderr, Direct: true})
	if err != nil {
		return 1, err
	}
	for {
		select {
		case <-process.Done():
			return exitCode(process.Wait())
		case sig := <-signals:
			if err := process.SignalGroup(sig.(syscall.Signal)); err != nil {
				return 1, errors.Join(err, process.Kill())
			}
		case <-server.Done():
			stopErr := process.Stop(commandGrace)
			return 1, errors.Join(fmt.Errorf("MinIO ended by itself, so %s was stopped; MinIO printed:\n%s",
				command, server.Output()), stopErr)
		}
	}
}

// commandEnv is this process's environment with the server's address and
// credentials, and without a session token, which would belong to others.
func commandEnv(address string) []string {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AWS_SESSION_TOKEN=") })
	return append(env, miniod.AddressVariable+"="+address,
		"AWS_ACCESS_KEY_ID="+miniod.AccessKey, "AWS_SECRET_ACCESS_KEY="+miniod.SecretKey)
}

// exitCode turns the end of a process into an exit code as shells do.
func exitCode(err error) (int, error) {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, nil
	case !errors.As(err, &exit):
		return 1, err
	}
	if status := exit.Sys().(syscall.WaitStatus); status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return exit.ExitCode(), nil
}
