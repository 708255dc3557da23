// Package faultproxy stands between a node and an object store that speaks S3
// over HTTP, and does to requests and answers what networks, load balancers and
// overloaded stores do: it refuses, delays, cuts, stalls, changes and loses them.
//
// It promises that without a fault set it passes everything on as it came, the
// signed headers included, and that each fault is counted when it has happened
// to a request, not when it was set. A request it has sent on goes on when the
// client has given up, as one in a network does.
//
// It knows no keys and no formats but HTTP's. It never repeats a request: what
// the store sees twice, the client has sent twice.
package faultproxy
