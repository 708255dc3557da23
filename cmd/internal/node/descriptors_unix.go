//go:build unix

package node

import "syscall"

// openFiles returns how many files this process may have open; false if not
// known. The runtime has raised the soft limit to the hard one already.
func openFiles() (uint64, bool) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, false
	}
	return uint64(limit.Cur), true
}
