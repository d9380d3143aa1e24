package looks

// oldCalls are those that newer architectures don't have.
var oldCalls map[int]call
