// Package scram is the credentials of users, which a server keeps in place of their passwords
// (RFC 5802).
//
// It owns the mechanisms, the form of a credential and its limits, and the check of a
// password against one. It promises that a credential does not contain the password, nor
// anything that a client could log in with.
//
// It never speaks SASL, and stores nothing.
package scram
