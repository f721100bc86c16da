#include <fmt/format.h>

#include "med3d/cli/command.h"
#include "med3d/cli/output.h"
#include "med3d/core/file.h"
#include "med3d/core/hash.h"
#include "med3d/encoders/weights_check.h"

namespace med3d {
namespace fs = std::filesystem;
namespace {

int run(const Options& options) {
  const fs::path in = options.path("IN");
  const fs::path out = options.path("OUT");
  check_weights_ending(out);
  std::error_code missing;
  if (fs::equivalent(in, out, missing)) {
    throw Error(ErrorKind::kUsage, out.string() + ": IN and OUT are the same file");
  }
  if (fs::is_directory(out, missing)) {
    throw Error(ErrorKind::kUsage, out.string() + ": is a folder, expected a file name");
  }
  if (fs::exists(fs::symlink_status(out, missing)) && !options.flag("overwrite")) {
    throw CommandError(ErrorKind::kUsage, out.string() + ": is there", "--overwrite replaces it");
  }
  const EncoderSpec* encoder =
      options.given("encoder") ? &find_encoder(options.text("encoder")) : nullptr;

  Weights weights = read_weights(in);
  const std::string sha256_in = weights.sha256;
  const std::string container = weights.container;
  const std::size_t found = weights.tensors.size();
  const auto tensors = encoder != nullptr ? encoder_tensors(std::move(weights), *encoder)
                                          : named_tensors(std::move(weights));
  const std::string bytes = weights_file_bytes(tensors, out);
  write_file_atomic(out, bytes);

  const std::string sha256_out = sha256_hex(bytes);
  if (options.json()) {
    Json document;
    document["in"] = {
        {"file", in.string()}, {"container", container}, {"tensors", found}, {"sha256", sha256_in}};
    document["out"] = {{"file", out.string()},
                       {"tensors", tensors.size()},
                       {"bytes", bytes.size()},
                       {"sha256", sha256_out}};
    document["encoder"] = encoder != nullptr ? Json(encoder->name) : Json(nullptr);
    print_json(document);
    return kExitDone;
  }
  print(
      fmt::format("{}: {}, {} tensors\n  SHA-256 {}\n", in.string(), container, found, sha256_in));
  print(fmt::format("{}: {} tensors{}\n  SHA-256 {}\n",
                    out.string(),
                    tensors.size(),
                    encoder != nullptr ? fmt::format(", those of {}", encoder->name) : "",
                    sha256_out));
  return kExitDone;
}

}  // namespace

extern const Command weights_convert_command;
const Command weights_convert_command = {
    .name = "weights convert",
    .summary = "Write the tensors of a weights file as safetensors or for torch.load",
    .reference = "docs/weights.md",
    .examples = {{"med3d weights convert resnet50-19c8e357.pth resnet50.safetensors",
                  "A file that holds no program"},
                 {"med3d weights convert pytorch_model.bin conch.safetensors --encoder conch",
                  "Only the tensors that the encoder uses, each checked"}},
    .declare =
        [](Schema& schema) {
          schema.positional_path("IN", "weights: .pth, .pt, .bin or .safetensors").required();
          schema.positional_path("OUT", "what to write: .safetensors, .pt, .pth or .bin")
              .required();
          schema.text("encoder", "keep the tensors of this encoder alone, checked");
          add_common_overwrite(schema);
        },
    .run = run,
};

}  // namespace med3d
