#include "med3d/encoders/weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "med3d/core/error.h"
#include "med3d/core/hash.h"
#include "med3d/core/limits.h"
#include "med3d/core/text.h"
#include "med3d/io/formats/pickle.h"
#include "med3d/io/formats/safetensors.h"
#include "med3d/io/formats/torch_file.h"
#include "med3d/io/formats/zip.h"

namespace med3d {

namespace {

constexpr std::size_t kNamed = 5;  // complaints a message lists

// The first eight bytes are the length of a JSON header, which starts with a brace; torch's files
// start with "PK" or a pickle.
bool looks_like_safetensors(std::string_view bytes) {
  return bytes.size() > 8 && bytes[8] == '{' && bytes.substr(0, 2) != "PK";
}

std::string container_of(std::string_view bytes) {
  if (looks_like_safetensors(bytes)) return "safetensors";
  return ZipArchive::detect(bytes) ? "torch zip" : "torch legacy";
}

}  // namespace

StoredWeights open_weights(const std::filesystem::path& path) {
  if (path.empty()) {
    throw Error(ErrorKind::kUsage, "no weights given: expected a .pth, .bin or .safetensors file");
  }
  StoredWeights weights;
  weights.source = path.string();
  weights.file = FileBytes::map(path, limits().weights_bytes);
  const std::string_view bytes = weights.file.view();
  weights.sha256 = sha256_hex(weights.file);
  weights.bytes = bytes.size();
  weights.container = container_of(bytes);
  std::vector<NamedStoredArray> arrays;
  if (looks_like_safetensors(bytes)) {
    arrays = stored_safetensors(weights.file, weights.source);
    for (auto& array : arrays) array.name = without_module(array.name);
  } else {
    arrays = stored_state_dict(weights.file, weights.source);
  }
  for (auto& [name, array] : arrays) {
    if (!weights.tensors.emplace(name, std::move(array)).second) {
      throw Error(ErrorKind::kData,
                  fmt::format("{}: two tensors are named {} once 'module' is dropped",
                              weights.source,
                              quoted_for_message(name)));
    }
  }
  return weights;
}

Weights read_weights(const std::filesystem::path& path) {
  StoredWeights opened = open_weights(path);
  Weights weights{{}, opened.source, opened.sha256, opened.container, opened.bytes};
  for (const auto& [name, array] : opened.tensors) weights.tensors.emplace(name, array.array());
  opened.file.require_unchanged();
  return weights;
}

WeightsTaker::WeightsTaker(StoredWeights weights, std::string_view encoder)
    : weights_(std::move(weights)), encoder_(encoder) {}

WeightsTaker::WeightsTaker(Weights weights, std::string_view encoder) : encoder_(encoder) {
  weights_.source = std::move(weights.source);
  for (auto& [name, array] : weights.tensors) {
    weights_.tensors.emplace(name, stored(std::move(array)));
  }
}

std::vector<float> WeightsTaker::tensor(const std::string& name,
                                        std::span<const std::uint64_t> shape) {
  const auto found = weights_.tensors.find(name);
  if (found == weights_.tensors.end()) {
    complaints_.push_back(name + ": missing");
    return {};
  }
  const StoredArray array = std::move(found->second);
  weights_.tensors.erase(found);
  if (!std::equal(shape.begin(), shape.end(), array.shape.begin(), array.shape.end())) {
    complaints_.push_back(
        fmt::format("{}: {}, expected {}", name, shape_text(array.shape), shape_text(shape)));
    return {};
  }
  std::vector<float> values = as_f32(array.array(), name);
  const auto bad =
      std::find_if(values.begin(), values.end(), [](float value) { return !std::isfinite(value); });
  if (bad != values.end()) {
    complaints_.push_back(fmt::format("{}: {} at element {}", name, *bad, bad - values.begin()));
    return {};
  }
  return values;
}

void WeightsTaker::ignore_prefix(std::string_view prefix) {
  std::erase_if(weights_.tensors,
                [&](const auto& entry) { return entry.first.starts_with(prefix); });
}

void WeightsTaker::ignore_suffix(std::string_view suffix) {
  std::erase_if(weights_.tensors, [&](const auto& entry) { return entry.first.ends_with(suffix); });
}

void WeightsTaker::finish() {
  for (const auto& [name, array] : weights_.tensors) {
    complaints_.push_back(
        fmt::format("{}: unknown, {}", quoted_for_message(name), shape_text(array.shape)));
  }
  weights_.tensors.clear();
  weights_.file.require_unchanged();
  if (complaints_.empty()) return;
  const std::size_t named = std::min(kNamed, complaints_.size());
  std::string message = fmt::format("{}: not the weights of {}: {}",
                                    weights_.source,
                                    encoder_,
                                    join(std::span(complaints_).first(named), "; "));
  if (complaints_.size() > named) {
    message += fmt::format("; and {} more", complaints_.size() - named);
  }
  throw Error(ErrorKind::kData, message);
}

}  // namespace med3d
