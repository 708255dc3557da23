//go:build !race

package sim

// slower is for the race detector, which is not in use.
const slower = 1
