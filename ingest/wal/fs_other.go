//go:build !linux

package wal

// Preallocate implements File.
func (f osFile) Preallocate(size int64) error { return writeZeros(f, size) }

// Sync implements File. Package os requests a full flush on systems that need
// one (F_FULLFSYNC on darwin).
func (f osFile) Sync() error { return f.File.Sync() }

// WriteVec implements File.
func (f osFile) WriteVec(pieces [][]byte, off int64) error {
	for _, p := range pieces {
		if _, err := f.WriteAt(p, off); err != nil {
			return err
		}
		off += int64(len(p))
	}
	return nil
}
