// Package listeners keeps what is known of listening sockets, of the processes that accept at them, and of the clients'
// addresses. It takes events for the queue's length, each attempt ([pairing.Pair]) and each connection
// ([conntrack.Connection]), and gives lists, and the summaries by which package findings judges.
//
// Exported names may change until version 1; CHANGELOG.md says which changed. The JSON of its lists is stable by
// docs/JSON.md.
package listeners
