#include <fmt/format.h>

#include "med3d/cli/command.h"
#include "med3d/cli/output.h"
#include "med3d/core/text.h"
#include "med3d/encoders/weights_catalogue.h"
#include "med3d/encoders/weights_check.h"
#include "med3d/io/download.h"

namespace med3d {
namespace {

// The entry of the catalogue that these bytes are, or "".
std::string_view known_as(std::string_view sha256) {
  for (const WeightsEntry& entry : weights_catalogue()) {
    if (!entry.sha256.empty() && entry.sha256 == sha256) return entry.name;
  }
  return "";
}

int run(const Options& options) {
  const auto path = options.path("FILE");
  const EncoderSpec* encoder =
      options.given("encoder") ? &find_encoder(options.text("encoder")) : nullptr;
  if (encoder != nullptr && encoder->tensors == nullptr) {
    throw Error(
        ErrorKind::kUsage,
        fmt::format("encoder '{}' takes no weights: it makes its own from a seed", encoder->name));
  }
  DownloadOptions expected;
  if (options.given("sha256")) expected.sha256 = to_lower(options.text("sha256"));
  expected.validate();

  Json document;
  document["file"] = path.string();
  std::vector<std::string> problems;
  {
    const Weights weights = read_weights(path);
    const WeightsReport report = inspect_weights(weights);
    document["container"] = weights.container;
    document["bytes"] = weights.bytes;
    document["sha256"] = weights.sha256;
    const std::string_view name = known_as(weights.sha256);
    document["known_as"] = name.empty() ? Json(nullptr) : Json(name);
    document["tensors"] = report.tensors;
    document["parameters"] = report.parameters;
    document["dtypes"] = report.dtypes;
    document["not_finite"] = report.not_finite;
    if (!expected.sha256.empty() && expected.sha256 != weights.sha256) {
      problems.push_back("SHA-256: expected " + expected.sha256);
    }
    for (const auto& problem : report.problems) problems.push_back("not finite: " + problem);
    if (report.not_finite > report.problems.size()) {
      problems.push_back(
          fmt::format("not finite: {} more tensors", report.not_finite - report.problems.size()));
    }
  }  // the net needs the memory
  Json loads = nullptr;
  if (encoder != nullptr) {
    loads = true;
    try {
      check_encoder_loads(*encoder, path);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kData) throw;
      loads = false;
      problems.emplace_back(error.what());
    }
  }
  document["encoder"] = encoder != nullptr ? Json(encoder->name) : Json(nullptr);
  document["loads"] = loads;
  document["problems"] = problems;
  const bool sound = problems.empty();
  document["sound"] = sound;

  if (options.json()) {
    print_json(document);
    return sound ? kExitDone : kExitFailed;
  }
  if (!options.quiet()) {
    const auto line = [](std::string_view word, const std::string& what) {
      print(fmt::format("{:<11} {}\n", word, what));
    };
    const auto text = [&](const char* key) { return document[key].get<std::string>(); };
    const auto number = [&](const char* key) {
      return std::to_string(document[key].get<std::uint64_t>());
    };
    std::vector<std::string> dtypes;
    for (const auto& [dtype, count] : document["dtypes"].items()) {
      dtypes.push_back(fmt::format("{} {}", count.get<std::uint64_t>(), dtype));
    }
    line("file", path.string());
    line("container", text("container"));
    line("bytes", number("bytes"));
    line("SHA-256", text("sha256"));
    if (!document["known_as"].is_null()) line("known as", text("known_as"));
    line("tensors", fmt::format("{} ({})", number("tensors"), join(dtypes, ", ")));
    line("parameters", number("parameters"));
    line("not finite", number("not_finite"));
    if (encoder != nullptr) {
      line("encoder",
           fmt::format("{} {} it", encoder->name, loads.get<bool>() ? "loads" : "does not load"));
    }
  }
  for (const auto& problem : problems) print(fmt::format("problem     {}\n", problem));
  if (!options.quiet()) print(sound ? "sound\n" : "not sound\n");
  return sound ? kExitDone : kExitFailed;
}

}  // namespace

extern const Command weights_verify_command;
const Command weights_verify_command = {
    .name = "weights verify",
    .summary =
        "Check a weights file: container, tensors, values, hash, and that an encoder loads it",
    .reference = "docs/weights.md",
    .examples = {{"med3d weights verify pytorch_model.bin --encoder uni",
                  "Say what it holds, and whether the encoder takes it; 1 if not"},
                 {"med3d weights verify w.safetensors --sha256 HEX --quiet",
                  "Only what is wrong, for scripts"}},
    .declare =
        [](Schema& schema) {
          schema.positional_path("FILE", "weights: .pth, .pt, .bin or .safetensors").required();
          schema.text("encoder", "the encoder that should load it");
          schema.text("sha256", "what the file should have, 64 hexadecimal digits");
        },
    .run = run,
};

}  // namespace med3d
