// Package sasl is the server's end of SASL: how a user shows by a password who he is.
//
// It owns the mechanisms (PLAIN, SCRAM-SHA-256 and -512) and the state of an exchange. It
// promises that a user who does not exist gets the same answers, after the same work, as one
// with another password.
//
// It never sees a connection, stores nothing, and knows nothing of the rights of a user.
package sasl
