// Package torchfile reads the state dicts of files that PyTorch wrote.
package torchfile
