//go:build !linux

package engine

// machineMemory returns 0, because the memory of the machine is not known.
func machineMemory() int64 { return 0 }
