# Of the output of go test -v: the last 80 lines of each test that failed; after a panic, the end.
FNR == 1 { end_of_file(); first = n }
/^(\[[0-9]\] )?(=== RUN   [^\/]*|PASS|FAIL)$/ { if (failing) show(); failing = 0; first = n }
{ line[n++] = $0 }
/^(\[[0-9]\] )?--- FAIL/ { failing = 1 }
/panic: |fatal error: |test timed out/ { panicked = 1 }
END { end_of_file() }
function end_of_file() { if (panicked || failing) show(); panicked = failing = 0 }
function show(  i) { for (i = (n - first > 80 ? n - 80 : first); i < n; i++) print line[i] }
