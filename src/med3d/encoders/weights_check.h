// What a weights file holds, whether it is sound, and the part of it that an encoder uses.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "med3d/encoders/encoder.h"
#include "med3d/encoders/weights.h"

namespace med3d {

struct WeightsReport {
  std::uint64_t tensors = 0;
  std::uint64_t parameters = 0;                 // elements of all tensors
  std::map<std::string, std::uint64_t> dtypes;  // "f32" -> tensors of that type
  std::uint64_t not_finite = 0;                 // tensors with a NaN or an infinity
  std::vector<std::string> problems;            // up to five of those: "fc.bias: nan at element 3"
};

// Counts what is there. Cost: a pass over all elements.
WeightsReport inspect_weights(const Weights& weights);

// Throws Error(kData) unless a file that begins so can hold weights: it is a zip archive, a pickle
// or a safetensors file.
//
// head     the first bytes, 9 or more unless the file is shorter
// address  where they come from, for the message
void check_weights_head(std::string_view head, std::string_view address);

// All tensors by name, or those alone that the encoder takes.
//
// Throws Error(kUsage) for an encoder that takes no weights; Error(kData) naming up to five tensors
// that are missing or of another shape.
std::vector<NamedArray> named_tensors(Weights weights);
std::vector<NamedArray> encoder_tensors(Weights weights, const EncoderSpec& encoder);

// A file of these tensors as the name's ending wants it: ".safetensors" (with the metadata
// {"format": "pt"} that other readers ask for), or torch's zip container for ".pt", ".pth" and
// ".bin". The same tensors are the same bytes, whatever container they came from.
//
// Throws Error(kUsage) for another ending, and as safetensors_bytes and torch_bytes.
std::string weights_file_bytes(std::span<const NamedArray> tensors,
                               const std::filesystem::path& name);
void check_weights_ending(const std::filesystem::path& name);

// Throws what `encoder.load` throws for this file: Error(kData) naming up to five tensors. Takes
// the memory of the net.
void check_encoder_loads(const EncoderSpec& encoder, const std::filesystem::path& path);

}  // namespace med3d
