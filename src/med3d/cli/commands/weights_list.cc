#include <fmt/format.h>

#include "med3d/cli/command.h"
#include "med3d/cli/commands/weights_folder.h"
#include "med3d/cli/output.h"
#include "med3d/encoders/encoder.h"

namespace med3d {
namespace {

std::string known_hash(const WeightsEntry& entry) {
  if (!entry.sha256.empty()) return std::string(entry.sha256);
  if (!entry.sha256_prefix.empty()) {
    return fmt::format("begins with {}; no more is known: give --sha256", entry.sha256_prefix);
  }
  return "no hash known: give --sha256";
}

Json json_of(const WeightsEntry& entry, const WeightsFile& file) {
  const auto known = [](std::string_view text) {
    return text.empty() ? Json(nullptr) : Json(text);
  };
  Json document;
  document["name"] = entry.name;
  document["file"] = file.path.string();
  document["state"] = file.state;
  document["bytes_here"] = file.bytes;
  document["bytes"] = entry.bytes == 0 ? Json(nullptr) : Json(entry.bytes);
  document["sha256"] = known(entry.sha256);
  document["sha256_prefix"] = known(entry.sha256_prefix);
  document["url"] = entry.url;
  document["page"] = entry.page;
  document["licence"] = entry.licence;
  document["gated"] = entry.gated;
  document["unverified"] = entry.unverified;
  return document;
}

std::string text_of(const WeightsEntry& entry, const WeightsFile& file) {
  const std::string here = file.bytes > 0 ? fmt::format("{}, {} bytes", file.state, file.bytes)
                                          : std::string(file.state);
  std::string text = fmt::format("  {:<14} {}: {}\n", entry.name, file.path.string(), here);
  const auto line = [&](std::string_view word, std::string_view what) {
    text += fmt::format("  {:<14} {:<10} {}\n", "", word, what);
  };
  line("licence", entry.licence);
  if (entry.gated) {
    line("access", fmt::format("accept the terms at {}, then give --token-file", entry.page));
  }
  line("from", entry.url);
  line("size", entry.bytes == 0 ? "not known" : fmt::format("{} bytes", entry.bytes));
  line("SHA-256", known_hash(entry));
  line("unverified", entry.unverified);
  return text;
}

int run(const Options& options) {
  const auto folder = weights_folder(options);
  Json document;
  document["folder"] = folder.string();
  document["encoders"] = Json::array();
  std::string text = options.quiet() ? "" : fmt::format("folder of weights: {}\n", folder.string());
  for (const EncoderSpec* spec : encoders()) {
    Json encoder;
    encoder["name"] = spec->name;
    encoder["modality"] = spec->modality;
    encoder["trained"] = spec->trained;
    encoder["embedding_dim"] = spec->embedding_dim;
    encoder["input_px"] = spec->input_px;
    encoder["mpp"] = spec->mpp > 0.0 ? Json(spec->mpp) : Json(nullptr);
    encoder["reference"] = spec->reference;
    encoder["weights"] = Json::array();
    text +=
        fmt::format("\n{}: {} numbers a tile of {} x {} pixels, {}\n  {}\n",
                    spec->name,
                    spec->embedding_dim,
                    spec->input_px,
                    spec->input_px,
                    spec->mpp > 0.0 ? fmt::format("{} um a pixel", spec->mpp) : "any size of pixel",
                    spec->reference);
    if (!spec->trained) text += "  needs no weights file\n";
    for (const WeightsEntry& entry : weights_catalogue()) {
      if (entry.encoder != spec->name) continue;
      const WeightsFile file = weights_file(folder, entry);
      encoder["weights"].push_back(json_of(entry, file));
      text += text_of(entry, file);
    }
    document["encoders"].push_back(std::move(encoder));
  }
  if (options.json()) {
    print_json(document);
  } else {
    print(text);
  }
  return kExitDone;
}

}  // namespace

extern const Command weights_list_command;
const Command weights_list_command = {
    .name = "weights list",
    .summary = "Show the encoders, where their weights are to be had, and which are here",
    .reference = "docs/weights.md",
    .examples = {{"med3d weights list", "Show sizes, licences, addresses and hashes"},
                 {"med3d weights list --dir /data/weights --json", "The same of another folder"}},
    .declare = [](Schema& schema) { declare_weights_folder(schema); },
    .run = run,
};

}  // namespace med3d
