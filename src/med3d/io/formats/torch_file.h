// Tensors in PyTorch's own files (.pt, .pth), read and written without PyTorch.
//
// Two containers hold the same pickled object:
//
//   zip     torch >= 1.6: <any>/data.pkl and one member <any>/data/<key> for each storage
//   legacy  before: five pickles (magic number, protocol 1001, system, object, storage keys), then
//           for each key an 8-byte count and the elements
//
// The pickles are read as data (pickle.h); no code in the file is run. A tensor is a view of a
// storage: it is written out in full, row-major, so that transposed, sliced and shared tensors
// come back as torch shows them. Devices ("cuda:0"), requires_grad and hooks are ignored; so is all
// that is not a tensor (epochs, scores, a state dict's _metadata).
//
// Names are the dotted path into the dicts and lists: "state_dict.module.conv1.weight", "0"; a file
// of one bare tensor has the name "".
//
// Source: pytorch/pytorch torch/serialization.py, torch/_utils.py (1.13).
// Checked against: torch 1.13's own loading of CLAM's and MedicalNet's files, both containers, and
// its loading of what we write.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "med3d/core/file_bytes.h"
#include "med3d/io/array.h"
#include "med3d/io/features.h"
#include "med3d/io/row_stream.h"
#include "med3d/io/stored_array.h"

namespace med3d {

struct TorchFile {
  std::vector<NamedArray> tensors;  // in the order of the file, at least one
  std::string container;            // "zip" or "legacy"
};

// Every tensor of the file.
//
// Cost O(file + tensors) time; memory for the file and its tensors together.
// Throws Error(kNotFound | kIo) as read_file does; Error(kUnsupported) for a TorchScript program, a
// pickled class or function (named), a big-endian file, complex, quantised and sparse tensors;
// Error(kFormat) for what is damaged, for a tensor that reaches beyond its storage, for negative
// strides, for two tensors of one name, and for tensors that would grow to more than
// limits().zip_ratio times the file (views of one storage can); Error(kData) without a tensor.
TorchFile read_torch(const std::filesystem::path& path);

// The same for bytes in memory; `source` names them in messages.
TorchFile parse_torch(std::string bytes, const std::string& source);

// The weights of a net, by the names its code knows: where the file is a dict with one of
// "state_dict", "model", "model_state_dict" that holds a dict, that dict alone (repeatedly; the
// optimiser beside it is dropped), and each name without its "module" parts.
//
// Throws as read_torch; Error(kUnsupported) if two of those three stand side by side; Error(kData)
// for a bare tensor, and if two names become one.
std::vector<NamedArray> read_state_dict(const std::filesystem::path& path);
std::vector<NamedArray> parse_state_dict(std::string bytes, const std::string& source);
// The same without the tensors' bytes, which are read one by one; the file is kept by what it
// returns. All but the checksums of the tensors is checked here.
std::vector<NamedStoredArray> stored_state_dict(const FileBytes& file, const std::string& source);

// "module.conv1.weight" -> "conv1.weight", "attention_net.module.0.bias" -> "attention_net.0.bias":
// DataParallel puts "module" in front of what it wraps, at any level. CLAM's ungated attention has
// a part of its own called module: compare names with both sides stripped.
std::string without_module(std::string_view name);

// A file of a dict name -> tensor (of a bare tensor), for torch.load: the zip container, members
// stored, their data at multiples of 64 bytes. The same arrays are the same bytes.
//
// Throws Error(kUsage) for no tensor, an empty name, one name twice, a name that is not UTF-8 or
// bytes that do not fit the shape; Error(kUnsupported) for u16, u32, u64 (torch 1.13 has no such
// tensors) and beyond 4 GiB.
std::string torch_bytes(std::span<const NamedArray> tensors);
std::string torch_tensor_bytes(const Array& array);

// The file of one f32 tensor (rows, cols), the bytes of torch_tensor_bytes, written atomically
// without ever holding it. Throws as torch_bytes and RowStream::each_block, Error(kIo).
void write_torch_rows(const std::filesystem::path& path, const RowStream& rows);

// CLAM's pt_files/<slide_id>.pt: one tensor (N, D), or a dict with one called "features".
extern const FeatureFormat torch_feature_format;

}  // namespace med3d
