// Package listener serves connections that speak the Kafka protocol: it reads frames,
// calls the handler of each request, and sends the answers.
//
// It owns sockets, connections and the memory for requests, and nothing durable. It
// promises that handlers of one connection are called in the order of arrival, and that
// answers leave in that order. A client's memory is charged to a finite budget before it
// is allocated. A client that holds memory which others wait for is cut off.
//
// It never looks into a request beyond its header and its shape. It knows no topic, no
// group and no record, and it never chooses an error code: handlers do.
package listener
