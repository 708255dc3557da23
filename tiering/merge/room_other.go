//go:build !linux && !darwin && !freebsd

package merge

// Room is how many bytes of its disk are free, 0 if that is not known.
func (f Folder) Room() int64 { return 0 }
