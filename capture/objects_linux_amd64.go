package capture

// This file has the compiled programs of x86-64.

import (
	"github.com/cilium/ebpf"

	"github.com/acc-project/acc/bpf"
)

// objects are the compiled programs, the best first.
var objects = []func() (*ebpf.CollectionSpec, error){bpf.LoadAcc, bpf.LoadAccHash, bpf.LoadAcc510}
