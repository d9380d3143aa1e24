// Package crosscheck holds the events of a capture against what the kernel itself counted
// meanwhile: a check that a tracer which missed something can't falsify. A [Check] takes batches
// and gives a [Comparison]: a verdict for each network namespace, the reasons of each difference,
// and what the kernel counted that has no event.
//
// Exported names may change until version 1; CHANGELOG.md says which changed.
package crosscheck
