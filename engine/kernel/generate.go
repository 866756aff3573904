package kernel

// The generators of the assembly are a separate module in _asm. Their output is
// committed, and is the same byte for byte whenever they run.

//go:generate go run -C _asm ./elementwise -out ../elementwise_amd64.s -stubs ../elementwise_amd64_stub.go -pkg kernel
//go:generate go run -C _asm ./winograd -out ../winograd_amd64.s -stubs ../winograd_amd64_stub.go -pkg kernel
//go:generate go run -C _asm ./direct -out ../direct_amd64.s -stubs ../direct_amd64_stub.go -pkg kernel
