// Package torchfile reads state dicts from the files that PyTorch writes (.pt, .pth, .th).
// It needs no Python and never executes code from a file.
//
// # Forms
//
// torch.save has written two forms. Sources: torch/serialization.py (_save, _legacy_save,
// _load, _legacy_load) and, for the zip container, caffe2/serialize/inline_container.h.
//
// The zip form, since PyTorch 1.6, is a zip archive whose entries are stored, not
// compressed, in one folder of any name:
//
//	data.pkl    a pickle of the object
//	data/KEY    the bytes of a storage
//	version     a number from 1 to 10, also under .data/version; torch.save writes 3
//	byteorder   little or big, since PyTorch 2.1; a file without it is little-endian
//
// Other entries (.format_version, .storage_alignment, .data/serialization_id) are not read.
// A checksum of 0 means that the writer left it out.
//
// The legacy form is a sequence of pickles and bytes:
//
//	the number 0x1950a86a20f9469cfc6c
//	the protocol version, 1001
//	sys_info, a dict about the machine
//	the object
//	a list of the keys of all storages
//	for each key: the number of elements in 8 bytes, and the elements
//
// All numbers are little-endian. The size of a storage's elements follows from the
// storage's type, which is in the pickle of the object.
//
// # Pickles
//
// In the pickle, a storage is a persistent identifier ('storage', type, key, location,
// elements). In the legacy form, a sixth value follows: None for the whole storage, or
// (key, offset, elements) for a part of it. A tensor is a call of _rebuild_tensor_v2 or a
// similar function (torch/_utils.py) with a storage, an offset, a shape and strides, all
// counted in elements. A state dict is an OrderedDict; its attribute _metadata is ignored.
//
// This package reads the pickle with its own interpreter. It knows the opcodes that PyTorch
// writes in protocols 2 to 5 (CPython's Lib/pickletools.py) and builds only None, tensors,
// storages, dicts, lists, tuples, sets, booleans, numbers, strings, bytes and numpy's numbers.
// It keeps every other class or function as a name, and every object built from one as an
// opaque value. It looks up no name and calls nothing.
//
// An opaque value outside the state dict is listed as ignored. Inside the state dict, it is
// an error if it holds tensors or is itself a tensor of a kind that cannot be read
// (quantised, sparse, complex, float8). Pickled modules, TorchScript archives and the tar
// archives of PyTorch before 0.2 are errors, too.
//
// # Limits
//
// Every size is checked against the size of the file before memory is allocated. Reading a
// file takes the bytes of the state dict's storages plus at most 64 bytes for each byte of
// the pickle, 16 for each byte of the zip directory, and 1 MiB; growing slices can double
// this. Tensors can share storages and repeat elements, but all tensors together
// may have at most 65,536 elements or twice as many as the file has bytes, whichever is
// larger. Values may be nested without limit, and references may form cycles.
package torchfile
