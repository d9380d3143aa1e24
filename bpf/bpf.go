// Package bpf holds the programs that acc runs in the kernel (acc.bpf.c), as
// source and compiled, with the Go types of what they write.
//
// There are three objects of the same source: Acc for kernels from 5.12 on, AccHash
// for those of them where task storage does not work, Acc510 for older ones. `make generate` compiles them again, with the clang that is
// named here; building acc needs only what is committed.
package bpf

//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target amd64,arm64 -type event -type call -type same_call -type attempt -type named_event -type process -type per_cpu -type life_event -type place -type unix_target -type network -type name -type ends -type repeated_key -type repeated -type kind -type hook -type via -type mark -type uring -type uring_end -type cause -type probe -type watch_for -type shed -type deferral -type criterion Acc acc.bpf.c -- -O2 -mcpu=v3 -DACC_MODERN -Wall -Werror -I/usr/include/x86_64-linux-gnu
//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target amd64,arm64 -no-global-types AccHash acc.bpf.c -- -O2 -mcpu=v3 -DACC_MODERN -DACC_HASH -Wall -Werror -I/usr/include/x86_64-linux-gnu
//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target amd64 -no-global-types Acc510 acc.bpf.c -- -O2 -mcpu=v2 -Wall -Werror -I/usr/include/x86_64-linux-gnu
