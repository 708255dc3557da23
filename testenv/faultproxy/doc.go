// Package faultproxy stands between a node and an object store that speaks S3
// over HTTP. It does to requests and answers the same as networks, load
// balancers and overloaded stores: it refuses, delays, cuts, stalls, changes
// and loses them. A Line stands before any other listener: it cuts the
// connections of nodes to each other, and to NATS.
//
// It promises that without a fault it passes everything on unchanged, with the
// signed headers. It counts each fault when it strikes a request, not when it
// is set. A request that it has passed on continues when the client gives up,
// as in a network.
//
// It knows no keys and no formats but HTTP's. It never repeats a request: if
// the store sees a request twice, the client has sent it twice.
package faultproxy
