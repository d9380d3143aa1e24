// Package analysis turns the events of a capture into what happened: attempts
// with their outcome, who accepted whom, how long it took, what failed and why.
//
// Everything is computed from the capture alone, in one pass and in memory that
// does not grow with it. What a capture can't prove, because something was lost,
// missed or cut off, is said with the result and never guessed.
package analysis
