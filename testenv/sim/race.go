//go:build race

package sim

// slower is by how much the race detector slows a simulation down, about.
const slower = 10
