// Package membership decides on which nodes a cluster counts, and which node is to lead
// which journal. metadata/CLUSTER.md states its rules.
//
// It owns three cores. Judge is the judgement of the controller: evidence against nodes,
// and the assignment of journals. Member is the part of every node: heartbeats to the
// controller, and the election of another one when it is gone. View is a node's knowledge
// of leaders, and the answers that it gives about them.
//
// It promises that a wrong decision costs time only. Everything here is a hint: a journal
// has the leader whose fence is in the bucket, whatever a node believes. A node never
// answers with a lower epoch of a journal than before, nor with one that it has not
// checked.
//
// The cores take events and return actions. They do no I/O, start no goroutine, read no
// clock and draw no random number. Times are of one process, and compared with each
// other only.
package membership
