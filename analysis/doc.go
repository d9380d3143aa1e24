// Package analysis turns the events of a capture into what happened: attempts
// with their outcome, who accepted whom, how long it took, what failed and why.
//
// Everything is computed from the capture alone, in one pass and in memory that
// does not grow with it. What a capture can't prove, because something was lost,
// missed or cut off, is said with the result and never guessed: an attempt of
// which only one event is there has a [Why], and [Doubts] says which figures may
// be more in truth, and which may differ.
//
// Durations are collected in histograms of fixed size: quantiles are exact to
// 0.1 % over all attempts, to 1 % for one listener; longest times are exact.
// What takes longer than 30 days counts as 30 days in quantiles.
//
// Exported names may change until version 1; CHANGELOG.md says which changed. The JSON of a
// Result is stable by docs/JSON.md.
package analysis
