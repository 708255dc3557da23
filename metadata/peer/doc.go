// Package peer is how the nodes of a cluster speak to each other: in frames of Kafka's
// protocol, with request keys above Kafka's own.
//
// It owns the keys by which a node proves that it belongs to the cluster, the handshake of a
// connection, and the form of private requests. It promises that after the handshake each
// end knows which node, and which start of it, the other one is. It then also knows that the
// other one has the key. Messages of a handshake are of no use on another connection, or in
// the other direction.
//
// A key of the role fetch proves that a node may read, and no more. It never encrypts: that
// is for TLS, whose channel the handshake can be bound to. It does not listen, and knows
// nothing of topics or journals.
package peer
