// Package drive runs the cores of package membership in a process: it takes events to them,
// and carries out their actions.
//
// It owns the Judge, the Member and the View of one process, and the order in which they
// learn of things. Bodies of requests are read and written here. Network, bucket and journals
// belong to an Env, which cmd and the simulation implement; so both run the same Driver.
//
// It promises that no core acts before the head of journal 0 was proved. An outcome is an
// event of its own, also if an Env has it at once. One of an earlier leadership says nothing
// about a later one. Each claim of a leader is checked, wherever it comes from.
//
// A Driver decides nothing, reads no clock but that of its Env, and starts no goroutine. It
// belongs to one goroutine, which Loop provides.
package drive
