// Package export writes what captures hold in the formats of other programs.
//
// A [Sink] takes connections and attempts of one capture after another while they are read, and keeps only what it
// must. The formats of tables (JSON lines, CSV, TSV, and Parquet by another program) share one list of
// columns, [Tables]: those of package report, and behind them which capture, host and process a row is of. The other
// formats put what acc knows under the names of their own.
//
// Exported names may change until version 1; CHANGELOG.md says which changed.
package export
