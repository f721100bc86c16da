#include "med3d/mil/clam_weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

#include "med3d/core/error.h"
#include "med3d/io/formats/torch_file.h"

namespace med3d::mil {
namespace {

using State = std::map<std::string, const Array*>;

// Names as without_module() leaves those of our own nets: the attention as layer 3, the last layer
// of an ungated one as "attention_net.3.last".
std::string canonical(const std::string& name) {
  std::string out = without_module(name);
  if (out.starts_with("attention_net.2.")) out[14] = '3';
  for (const char* last : {"attention_net.3.2.", "attention_net.3.3."}) {
    if (out.starts_with(last)) out = "attention_net.3.last." + out.substr(std::strlen(last));
  }
  return out;
}

const Array* find(const State& state, const std::string& name) {
  const auto found = state.find(name);
  return found == state.end() ? nullptr : found->second;
}

// A matrix that must be there; (0, 0) is refused.
std::pair<std::size_t, std::size_t> shape_of(const State& state,
                                             const std::string& name,
                                             const std::string& source) {
  const Array* array = find(state, name);
  if (array == nullptr) {
    throw Error(ErrorKind::kFormat,
                fmt::format("{}: no '{}', expected the weights of a CLAM net", source, name));
  }
  if (array->shape.size() != 2 || array->shape[0] == 0 || array->shape[1] == 0) {
    throw Error(
        ErrorKind::kFormat,
        fmt::format(
            "{}: '{}' has shape {}, expected a matrix", source, name, shape_text(array->shape)));
  }
  return {static_cast<std::size_t>(array->shape[0]), static_cast<std::size_t>(array->shape[1])};
}

ClamOptions options_of(const State& state, const ClamOptions& base, const std::string& source) {
  ClamOptions options = base;
  const bool mil = find(state, "fc.0.weight") != nullptr;
  const auto [hidden, embed] =
      shape_of(state, mil ? "fc.0.weight" : "attention_net.0.weight", source);
  options.embed_dim = embed;
  options.hidden_dim = hidden == 512 ? 0 : hidden;
  if (mil) {
    options.model_type = ModelType::kMil;
    options.n_classes = find(state, "classifier.weight") != nullptr
                            ? shape_of(state, "classifier.weight", source).first
                            : shape_of(state, "classifiers.weight", source).first;
    return options;
  }
  options.gated = find(state, "attention_net.3.attention_a.0.weight") != nullptr;
  const bool attends = options.gated || find(state, "attention_net.3.0.weight") != nullptr;
  if (attends) {
    const std::size_t width = shape_of(state,
                                       options.gated ? "attention_net.3.attention_a.0.weight"
                                                     : "attention_net.3.0.weight",
                                       source)
                                  .first;
    options.model_size = width == 384 ? ModelSize::kBig : ModelSize::kSmall;
    options.attention_dim = width == 256 || width == 384 ? 0 : width;
  }
  if (find(state, "classifiers.0.weight") != nullptr) {
    options.model_type = ModelType::kClamMb;
    options.n_classes = shape_of(state,
                                 options.gated ? "attention_net.3.attention_c.weight"
                                               : "attention_net.3.last.weight",
                                 source)
                            .first;
  } else {
    options.n_classes = shape_of(state, "classifiers.weight", source).first;
    if (!attends) {
      options.model_type = base.model_type == ModelType::kMax ? ModelType::kMax : ModelType::kMean;
    } else {
      options.model_type = find(state, "instance_classifiers.0.weight") != nullptr
                               ? ModelType::kClamSb
                               : ModelType::kAbmil;
    }
  }
  return options;
}

}  // namespace

Clam clam_of(std::span<const NamedArray> state,
             const ClamOptions& base,
             const std::string& source) {
  State known;
  for (const NamedArray& entry : state) {
    const std::string name = canonical(entry.name);
    if (name.starts_with("instance_loss_fn.")) continue;
    if (!known.emplace(name, &entry.array).second) {
      throw Error(ErrorKind::kFormat, fmt::format("{}: '{}' stands there twice", source, name));
    }
  }
  const ClamOptions options = options_of(known, base, source);
  // Before a net of that size is made: the file must hold what it claims.
  std::size_t held = 0;
  for (const auto& [name, array] : known) held += array->bytes.size() / dtype_bytes(array->dtype);
  if (options.hidden() > held / std::max<std::size_t>(1, options.embed_dim)) {
    throw Error(ErrorKind::kFormat, fmt::format("{}: fewer weights than its shapes say", source));
  }
  Clam net(options);
  std::vector<float> values(net.parameters().size());
  for (const ParameterInfo& parameter : net.parameter_info()) {
    const std::string name = canonical(parameter.name);
    const auto found = known.find(name);
    if (found == known.end()) {
      throw Error(ErrorKind::kFormat,
                  fmt::format("{}: no '{}', expected it in a {} net",
                              source,
                              parameter.name,
                              to_string(options.model_type)));
    }
    if (found->second->shape != parameter.shape) {
      throw Error(ErrorKind::kFormat,
                  fmt::format("{}: '{}' has shape {}, expected {}",
                              source,
                              parameter.name,
                              shape_text(found->second->shape),
                              shape_text(parameter.shape)));
    }
    const std::vector<float> read = as_f32(*found->second, parameter.name);
    std::copy(
        read.begin(), read.end(), values.begin() + static_cast<std::ptrdiff_t>(parameter.offset));
    known.erase(found);
  }
  if (!known.empty()) {
    throw Error(ErrorKind::kFormat,
                fmt::format("{}: '{}' belongs to no part of a {} net",
                            source,
                            known.begin()->first,
                            to_string(options.model_type)));
  }
  try {
    net.set_parameters(values);
  } catch (const Error&) {
    rethrow_with_context(source);
  }
  return net;
}

Clam read_clam(const std::filesystem::path& path, const ClamOptions& base) {
  return clam_of(read_state_dict(path), base, path.string());
}

std::vector<NamedArray> clam_state(const Clam& net) {
  std::vector<NamedArray> out;
  for (const ParameterInfo& parameter : net.parameter_info()) {
    Array array;
    array.shape = parameter.shape;
    array.bytes.resize(parameter.size * sizeof(float));
    std::memcpy(array.bytes.data(), net.parameters().data() + parameter.offset, array.bytes.size());
    out.push_back({parameter.name, std::move(array)});
  }
  return out;
}

std::string clam_checkpoint_bytes(const Clam& net) { return torch_bytes(clam_state(net)); }

}  // namespace med3d::mil
