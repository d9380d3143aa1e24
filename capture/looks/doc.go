// Package looks finds out what the threads of servers do while clients wait for them in an accept queue: it reads
// /proc, and nothing is attached. Nobody else pays for it, and nothing is done while nobody waits.
package looks
