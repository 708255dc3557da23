//go:build unix && !linux

package proc

import "syscall"

// processAttributes has no parent-death signal to set: if this process is
// killed with SIGKILL, the ones it started stay.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
