//go:build !race

package seeded

// slower is for the race detector, which is not in use.
const slower = 1
