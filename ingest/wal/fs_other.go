//go:build !linux

package wal

// Preallocate implements File.
func (f osFile) Preallocate(size int64) error { return writeZeros(f, size) }

// Sync implements File. The os package asks for a full flush where the system
// needs one (F_FULLFSYNC on darwin).
func (f osFile) Sync() error { return f.File.Sync() }
