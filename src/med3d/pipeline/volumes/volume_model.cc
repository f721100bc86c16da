#include "med3d/pipeline/volumes/volume_model.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <utility>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/hash.h"
#include "med3d/core/limits.h"
#include "med3d/io/formats/safetensors.h"
#include "med3d/pipeline/version.h"

namespace med3d::pipeline {
namespace {

constexpr const char* kFormat = "med3d-volume-model";
constexpr int kVersion = 1;

Array array_of(const nn::Parameter& parameter) {
  Array array;
  array.shape = parameter.shape;
  array.bytes.resize(parameter.values.size() * sizeof(float));
  std::memcpy(array.bytes.data(), parameter.values.data(), array.bytes.size());
  return array;
}

}  // namespace

nn::VolumeNetDesign net_design(const MedicalNetDesign& design) {
  return {design.blocks,
          design.bottleneck,
          design.shortcut == Shortcut::kB,
          design.dilated,
          design.width};
}

MedicalNetDesign encoder_design(const nn::VolumeNetDesign& design) {
  return {design.blocks,
          design.bottleneck,
          design.projection ? Shortcut::kB : Shortcut::kA,
          design.dilated,
          design.width};
}

nn::Parameters encoder_parameters(const Weights& weights) {
  nn::Parameters out;
  for (const auto& [name, array] : weights.tensors) {
    if (name.starts_with("fc.") || name.starts_with("conv_seg.") ||
        name.ends_with(".num_batches_tracked")) {
      continue;
    }
    out.push_back({name, array.shape, as_f32(array, weights.source + ", " + name)});
  }
  return out;
}

std::unique_ptr<VolumeEncoder> VolumeModel::encoder(int threads) const {
  Weights weights;
  weights.source = "the model";
  for (const nn::Parameter& one : parameters) weights.tensors.emplace(one.name, array_of(one));
  VolumeEncoderOptions options;
  options.threads = threads;
  return make_medicalnet(
      encoder_design(design), std::move(weights), "the model's encoder", options);
}

std::vector<float> VolumeModel::head() const {
  return nn::find_parameter(parameters, "fc.weight").values;
}

void write_volume_model(const std::filesystem::path& folder,
                        const VolumeModel& model,
                        const Json& facts) {
  std::vector<NamedArray> arrays;
  for (const nn::Parameter& one : model.parameters) arrays.push_back({one.name, array_of(one)});
  const std::string bytes = safetensors_bytes(arrays);
  write_file_atomic(folder / "model.safetensors", bytes);
  Json json = {{"format", kFormat},
               {"version", kVersion},
               {"program", "med3d " + version()},
               {"net",
                {{"blocks", model.design.blocks},
                 {"bottleneck", model.design.bottleneck},
                 {"shortcut", model.design.projection ? "B" : "A"},
                 {"dilated", model.design.dilated},
                 {"width", model.design.width}}},
               {"preparation", model.preparation.to_json()},
               {"threshold", model.threshold},
               {"weights_sha256", sha256_hex(bytes)}};
  for (const auto& [key, value] : facts.items()) json[key] = value;
  write_json(folder / "model.json", json);
}

VolumeModel read_volume_model(const std::filesystem::path& folder) {
  const std::string text = read_file(folder / "model.json", limits().config_bytes);
  const std::string source = (folder / "model.json").string();
  const Json json = parse_json(text, source);
  VolumeModel model;
  std::string sha256;
  try {
    if (json.at("format").get<std::string>() != kFormat) {
      throw Error(ErrorKind::kFormat, "no model of volumes");
    }
    if (json.at("version").get<int>() > kVersion) {
      throw Error(ErrorKind::kUnsupported,
                  fmt::format("{}: version {}, this program reads {}",
                              source,
                              json.at("version").get<int>(),
                              kVersion));
    }
    const Json& net = json.at("net");
    model.design.blocks = net.at("blocks").get<std::array<int, 4>>();
    model.design.bottleneck = net.at("bottleneck").get<bool>();
    model.design.projection = net.at("shortcut").get<std::string>() == "B";
    model.design.dilated = net.at("dilated").get<bool>();
    model.design.width = net.at("width").get<std::int64_t>();
    model.design.validate();
    model.preparation = VolumePreparation::from_json(json.at("preparation"));
    model.threshold = json.at("threshold").get<double>();
    sha256 = json.at("weights_sha256").get<std::string>();
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kUnsupported) throw;
    throw Error(ErrorKind::kFormat, fmt::format("{}: {}", source, error.what()));
  } catch (const std::exception& error) {
    throw Error(ErrorKind::kFormat, fmt::format("{}: {}", source, error.what()));
  }
  const auto path = folder / "model.safetensors";
  if (sha256_file(path) != sha256) {
    throw Error(ErrorKind::kFormat,
                path.string() + ": not the arrays that model.json was written with");
  }
  for (const NamedArray& one : read_safetensors(path).tensors) {
    model.parameters.push_back({one.name, one.array.shape, as_f32(one.array, one.name)});
  }
  const nn::Parameter& head = nn::find_parameter(model.parameters, "fc.weight");
  nn::check_parameter(head, {1, static_cast<std::uint64_t>(model.design.embedding_dim())});
  nn::check_parameter(nn::find_parameter(model.parameters, "fc.bias"), {1});
  model.sha256 = sha256_hex(text);
  return model;
}

}  // namespace med3d::pipeline
