// Package integration tests the varve binary as its users meet it: a process of
// its own, a real MinIO or a bucket in a folder, real NATS, and Kafka clients
// that were written by others.
//
// It owns the promises that no package can keep alone: what was acknowledged is
// read back equal after kills, outages and lost data folders; what cannot be
// answered for sure is refused; every bad start says in one line what to do. It
// promises that a test fails for what it names, and that nothing it starts
// outlives it.
//
// It never looks into the process: what it knows of it came over a socket, from
// its exit code and its output, or out of the bucket.
package integration
