// Package kafka answers the requests of Kafka clients: versions, validation, and the
// answers of the protocol. Package listener below it reads and sends them.
//
// It owns nothing durable. It promises that Produce requests are passed on in arrival
// order. The answer to a failure has a code at which clients retry, unless a retry
// cannot help. It advertises only features that work.
//
// It never copies records, and decodes them only if the topic asks for it. It decides
// nothing about offsets, leadership or durability: the Backend does.
//
// Each API key has a file of its own, named by its number, which registers the
// versions and lists the changes of each. The protocol is that of
// https://kafka.apache.org/protocol and the KIPs named in those files.
package kafka
