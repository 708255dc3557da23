// Package kafka answers the requests of Kafka clients: versions, validation, and the
// answers of the protocol. Package listener below it reads and sends them.
//
// It owns nothing durable. It promises that a Produce request is handed on in arrival
// order, and that a failure is answered with a code that clients retry, unless a retry
// cannot help. It advertises only what works. It never decodes records unless the topic
// asks for it, never copies them, and decides nothing about offsets, leadership or
// durability: the Backend does.
//
// Each API key has a file of its own, named by its number, which registers the
// versions and states what the versions changed. The protocol is that of
// https://kafka.apache.org/protocol and the KIPs named in those files.
package kafka
