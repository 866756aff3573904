// Package torchfile reads the state dicts of the files that PyTorch writes (.pt, .pth,
// .th), without Python and without executing what they say.
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
//	version     a number from 1 to 10; torch.save writes 3
//	byteorder   little or big, since PyTorch 2.1; little without it
//
// Other entries (.format_version, .storage_alignment, .data/serialization_id) do not
// matter for reading. A checksum of 0 means that the writer left it out.
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
// All numbers are little-endian. The element's size of a storage is that of its type,
// which the object's pickle tells.
//
// # Pickles
//
// In the pickle, a storage is a persistent identifier ('storage', type, key, location,
// elements), and the legacy form adds a sixth value, None or (key, offset, elements) of
// the part of the storage that is meant. A tensor is a call of _rebuild_tensor_v2 (or a
// relative of it, torch/_utils.py) with a storage, an offset, a shape and strides, all
// counted in elements. A state dict is an OrderedDict; its attribute _metadata is left out.
//
// An interpreter of this package's own reads the pickle. It knows the opcodes of protocols
// 2 to 5 (CPython's Lib/pickletools.py) and builds only the values that objects.go lists:
// tensors, storages, dicts, lists, tuples, sets, numbers, strings, bytes and numpy's
// numbers. Every other class or function is a name, and what is made of it an opaque
// value. No name is looked up, and nothing is called.
//
// An opaque value beside the state dict is listed as ignored. In the state dict, it is
// refused by its name if it is a tensor of a kind that is not read (quantised, sparse,
// complex, float8) or holds tensors; a pickled module is refused too. TorchScript archives
// and the tar archives of PyTorch before 0.2 are refused.
//
// # Limits
//
// Every size is checked against the size of the file before memory is allocated. Reading
// takes the bytes of the state dict's storages, at most 64 bytes for each byte of the
// pickle and 16 for each byte of the zip directory, and 1 MiB; slices that grow can double
// this. Tensors can share storages and repeat elements: all tensors together have at most
// two elements for each byte of the file, or 65,536. Values may be nested without limit,
// and references may form cycles.
package torchfile
