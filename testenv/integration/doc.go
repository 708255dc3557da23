// Package integration tests the varve binary as its users meet it: as a process of
// its own, with a real MinIO or a bucket in a folder, and real NATS. The Kafka
// clients are those of other authors.
//
// It owns the promises that no package can keep alone. Acknowledged records are
// read back equal after kills, outages and lost data folders. A request without
// a certain answer is refused. Every failed start says in one line what to do.
// It promises that a test fails for the reason in its name, and that nothing it
// starts outlives it.
//
// It never looks into the process: it uses only sockets, the exit code, the
// output and the bucket.
package integration
