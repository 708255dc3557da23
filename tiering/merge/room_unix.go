//go:build linux || darwin || freebsd

package merge

import "golang.org/x/sys/unix"

// Room is how many bytes of its disk are free, 0 if that is not known.
func (f Folder) Room() int64 {
	var s unix.Statfs_t
	if unix.Statfs(string(f), &s) != nil {
		return 0
	}
	return int64(s.Bavail) * int64(s.Bsize)
}
