package crashfs

import (
	"maps"
	"slices"
)

// Pick chooses one of n outcomes, 0 to n-1, sorted by how much survives: 0
// keeps nothing, n-1 all. (*rand.Rand).IntN is one.
type Pick func(n int) int

// KeepAll keeps everything written, as the end of a process does.
func KeepAll(n int) int { return n - 1 }

// KeepNone keeps only synced bytes.
func KeepNone(int) int { return 0 }

// KeepFirst keeps the first k of all choices and loses the rest. With one write
// that was not synced, the tail is torn at sector k.
func KeepFirst(k int) Pick {
	return func(n int) int {
		k--
		if k >= 0 {
			return n - 1
		}
		return 0
	}
}

// Image returns a new disk, without faults, as a power failure now could leave
// this one, with everything on it synced. The disk itself does not change.
// Image calls pick for names first, then for the sectors of each file, in a
// fixed order.
func (f *FS) Image(pick Pick) *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	names := map[*node]map[string]*node{}
	side := func(n *node) map[string]*node {
		if names[n] == nil {
			names[n] = maps.Clone(n.durable)
		}
		return names[n]
	}
	for _, c := range f.pending {
		if pick(2) == 1 {
			c.apply(side)
		}
	}
	img := New(nil)
	img.root = copyTree(f.root, side, pick)
	return img
}

func copyTree(n *node, side func(*node) map[string]*node, pick Pick) *node {
	if n.names == nil {
		data := n.survivors(pick)
		return &node{data: data, synced: slices.Clone(data)}
	}
	d := newDir()
	for _, name := range slices.Sorted(maps.Keys(side(n))) {
		child := copyTree(side(n)[name], side, pick)
		d.names[name], d.durable[name] = child, child
	}
	return d
}

// survivors returns a file after the crash: each sector has the first few of
// the writes to it.
func (n *node) survivors(pick Pick) []byte {
	data := slices.Clone(n.synced)
	for _, s := range n.dirty() {
		var touching []write
		for _, w := range n.writes {
			if w.off < (s+1)*Sector && w.off+int64(len(w.data)) > s*Sector {
				touching = append(touching, w)
			}
		}
		for _, w := range touching[:pick(len(touching)+1)] {
			from := max(0, s*Sector-w.off)
			to := min(int64(len(w.data)), (s+1)*Sector-w.off)
			data = w.apply(data, int(from), int(to))
		}
	}
	return data
}

// dirty returns the numbers of the sectors that were written and not synced,
// ascending.
func (n *node) dirty() []int64 {
	set := map[int64]bool{}
	for _, w := range n.writes {
		for s := w.off / Sector; s*Sector < w.off+int64(len(w.data)); s++ {
			set[s] = true
		}
	}
	return slices.Sorted(maps.Keys(set))
}

// Unsynced returns how many bytes were written to a file since its last Sync.
func (f *FS) Unsynced(path string) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.find(path)
	if err != nil {
		return 0, err
	}
	bytes := 0
	for _, w := range n.writes {
		bytes += len(w.data)
	}
	return bytes, nil
}

// Corrupt changes a file in place, durably, and unseen by the holder of an open
// handle, as bit rot or an operator would. The change may also set another
// length.
func (f *FS) Corrupt(path string, change func([]byte) []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.find(path)
	if err != nil {
		return err
	}
	n.data = change(n.data)
	n.synced, n.writes = slices.Clone(n.data), nil
	return nil
}
