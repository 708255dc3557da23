// Package kafka is the front that Kafka clients talk to: framing, versions,
// validation, and the answers of the protocol.
//
// It owns client connections and nothing durable. It promises that requests of
// one connection are begun in the order they arrive and answered in that order,
// that a Produce request is handed on in arrival order, that what a client may
// make the process allocate is charged to a finite budget before it is
// allocated, and that a failure is answered with a code clients retry unless a
// retry cannot help. It advertises only what works. It never decodes records
// unless the topic asks for it, never copies them, and decides nothing about
// offsets, leadership or durability: that is the business of the Backend.
//
// Each API key has a file of its own, named by its number, which registers the
// versions and states what the versions changed. The protocol is that of
// https://kafka.apache.org/protocol and the KIPs named in those files.
package kafka
