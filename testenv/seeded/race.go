//go:build race

package seeded

// slower is by how much the race detector slows a test down, about.
const slower = 10
