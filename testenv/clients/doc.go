// Package clients tests varve with the Kafka clients that applications use, in
// their own languages and as they come from their registries, and with Kafka's
// own command-line tools.
//
// It owns one small program per family of clients (in the folders here), which
// all take the same orders, and the checks, which are the same for all. Each
// check is a promise on which an application from Kafka relies: written records
// are read back equal, a group gives every record to a member, a commit holds.
// Versions are pinned here; installed programs are kept in the user's cache
// folder.
//
// Families that need only Go always run. The others need a runtime and a
// registry, and run with -clients.all (make clients). So do the programs of the
// ecosystem, such as Kafka Connect, which keep their own state in Kafka. A
// family without its runtime is skipped by name. The last lines of the output
// are the table of clients and features. -clients.only selects some of them, as
// in make clients TESTFLAGS='-clients.only java'.
//
// The Go programs are in a module of their own, golang. The tested versions of
// clients have nothing to do with the libraries of varve itself, and neither
// may change with the other.
package clients
