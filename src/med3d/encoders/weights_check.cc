#include "med3d/encoders/weights_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "med3d/core/error.h"
#include "med3d/core/text.h"
#include "med3d/io/formats/pickle.h"
#include "med3d/io/formats/safetensors.h"
#include "med3d/io/formats/torch_file.h"
#include "med3d/io/formats/zip.h"

namespace med3d {
namespace {

constexpr std::size_t kNamed = 5;  // problems a message lists

template <class T>
std::string first_not_finite(const std::vector<T>& values) {
  const auto bad =
      std::find_if(values.begin(), values.end(), [](T value) { return !std::isfinite(value); });
  if (bad == values.end()) return "";
  return fmt::format("{} at element {}", *bad, bad - values.begin());
}

// f64 is not rounded: what is finite there may not be in f32.
std::string first_not_finite(const Array& array, const std::string& name) {
  switch (array.dtype) {
    case DType::kF64:
      return first_not_finite(as_f64(array, name));
    case DType::kF16:
    case DType::kBF16:
    case DType::kF32:
      return first_not_finite(as_f32(array, name));
    default:
      return "";
  }
}

bool is_torch_ending(std::string_view ending) {
  return ending == ".pt" || ending == ".pth" || ending == ".bin";
}

void check_takes_weights(const EncoderSpec& encoder) {
  if (encoder.tensors == nullptr) {
    throw Error(
        ErrorKind::kUsage,
        fmt::format("encoder '{}' takes no weights: it makes its own from a seed", encoder.name));
  }
}

}  // namespace

WeightsReport inspect_weights(const Weights& weights) {
  WeightsReport report;
  for (const auto& [name, array] : weights.tensors) {
    ++report.tensors;
    report.parameters += array.bytes.size() / dtype_bytes(array.dtype);
    ++report.dtypes[std::string(to_string(array.dtype))];
    const std::string found = first_not_finite(array, name);
    if (found.empty()) continue;
    if (++report.not_finite <= kNamed) {
      report.problems.push_back(fmt::format("{}: {}", quoted_for_message(name), found));
    }
  }
  return report;
}

void check_weights_head(std::string_view head, std::string_view address) {
  const bool pickle = head.starts_with('\x80');
  const bool safetensors = head.size() > 8 && head[8] == '{';
  if (ZipArchive::detect(head) || pickle || safetensors) return;
  throw Error(ErrorKind::kData,
              fmt::format("{}: begins with {}: no weights file (.pth, .bin, .safetensors){}",
                          address,
                          quoted_for_message(head.substr(0, 24)),
                          trim(head).starts_with('<') ? ", it looks like a web page" : ""));
}

std::vector<NamedArray> named_tensors(Weights weights) {
  std::vector<NamedArray> tensors;
  for (auto& [name, array] : weights.tensors) tensors.push_back({name, std::move(array)});
  return tensors;
}

std::vector<NamedArray> encoder_tensors(Weights weights, const EncoderSpec& encoder) {
  check_takes_weights(encoder);
  std::vector<NamedArray> tensors;
  std::vector<std::string> complaints;
  for (const TensorShape& wanted : encoder.tensors()) {
    const auto found = weights.tensors.find(wanted.name);
    if (found == weights.tensors.end()) {
      complaints.push_back(wanted.name + ": missing");
    } else if (found->second.shape != wanted.shape) {
      complaints.push_back(fmt::format("{}: {}, expected {}",
                                       wanted.name,
                                       shape_text(found->second.shape),
                                       shape_text(wanted.shape)));
    } else {
      tensors.push_back({wanted.name, std::move(found->second)});
    }
  }
  if (!complaints.empty()) {
    const std::size_t named = std::min(kNamed, complaints.size());
    std::string message = fmt::format("{}: not the weights of {}: {}",
                                      weights.source,
                                      encoder.name,
                                      join(std::span(complaints).first(named), "; "));
    if (complaints.size() > named) {
      message += fmt::format("; and {} more", complaints.size() - named);
    }
    throw Error(ErrorKind::kData, message);
  }
  return tensors;
}

void check_weights_ending(const std::filesystem::path& name) {
  const std::string ending = to_lower(name.extension().string());
  if (ending == ".safetensors" || is_torch_ending(ending)) return;
  throw Error(ErrorKind::kUsage,
              fmt::format("{}: expected a name that ends in .safetensors, .pt, .pth or .bin",
                          name.string()));
}

std::string weights_file_bytes(std::span<const NamedArray> tensors,
                               const std::filesystem::path& name) {
  check_weights_ending(name);
  // In one order, that of the names, so that no container shows where the tensors were before.
  std::vector<NamedArray> sorted(tensors.begin(), tensors.end());
  std::sort(sorted.begin(), sorted.end(), [](const NamedArray& a, const NamedArray& b) {
    return a.name < b.name;
  });
  if (is_torch_ending(to_lower(name.extension().string()))) return torch_bytes(sorted);
  return safetensors_bytes(sorted, {{"format", "pt"}});
}

void check_encoder_loads(const EncoderSpec& encoder, const std::filesystem::path& path) {
  check_takes_weights(encoder);
  EncoderOptions options;
  options.batch = 1;
  encoder.load(path, options);
}

}  // namespace med3d
