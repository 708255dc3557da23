package proc

import (
	"errors"
	"os"
	"syscall"
)

// signalGroup sends sig to the process group that the process leads.
func signalGroup(leader int, sig syscall.Signal) error {
	return syscall.Kill(-leader, sig)
}

// ended reports whether the error means that a signal found no process.
func ended(err error) bool {
	return errors.Is(err, os.ErrProcessDone) || errors.Is(err, syscall.ESRCH)
}
