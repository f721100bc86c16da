#include "med3d/encoders/weights_catalogue.h"

#include <fmt/format.h>

#include <array>
#include <string>
#include <vector>

#include "med3d/core/error.h"
#include "med3d/core/text.h"

namespace med3d {

std::span<const WeightsEntry> weights_catalogue() {
  // Revisions, sizes and hashes of the files on Hugging Face are each published alike by at least
  // three projects that use them; torchvision puts the first digits into the name itself.
  static constexpr std::array<WeightsEntry, 4> kEntries = {{
      {.name = "resnet50",
       .encoder = "resnet50",
       .file = "resnet50-19c8e357.pth",
       .url = "https://download.pytorch.org/models/resnet50-19c8e357.pth",
       .page = "https://github.com/pytorch/vision",
       .licence = "BSD-3-Clause (torchvision); trained on ImageNet, which has terms of its own",
       .gated = false,
       .bytes = 0,
       .sha256 = "",
       .sha256_prefix = "19c8e357",
       .unverified = "the licence of the weights apart from that of the code"},
      {.name = "resnet50-timm",
       .encoder = "resnet50",
       .file = "resnet50.tv_in1k/model.safetensors",
       .url = "https://huggingface.co/timm/resnet50.tv_in1k/resolve/"
              "78f3ecfdb38e06d9b8397f662e7ab8fee96026fa/model.safetensors",
       .page = "https://huggingface.co/timm/resnet50.tv_in1k",
       .licence = "BSD-3-Clause (torchvision); trained on ImageNet, which has terms of its own",
       .gated = false,
       .bytes = 102'469'840,
       .sha256 = "5d061a3c593d795bfe682d9b152bafbcf550579873492def3515b46db1189888",
       .sha256_prefix = "",
       .unverified = "size and SHA-256 are as other projects publish them; the licence"},
      {.name = "uni",
       .encoder = "uni",
       .file = "uni/pytorch_model.bin",
       .url = "https://huggingface.co/MahmoodLab/UNI/resolve/"
              "b55a5ec6cade1a39edfe6534189a9b8ca7a022f0/pytorch_model.bin",
       .page = "https://huggingface.co/MahmoodLab/UNI",
       .licence = "CC BY-NC-ND 4.0 with further terms: research only, not to be passed on",
       .gated = true,
       .bytes = 1'213'527'781,
       .sha256 = "56ef09b44a25dc5c7eedc55551b3d47bcd17659a7a33837cf9abc9ec4e2ffb40",
       .sha256_prefix = "",
       .unverified = "size and SHA-256 are as other projects publish them"},
      {.name = "conch",
       .encoder = "conch",
       .file = "conch/pytorch_model.bin",
       .url = "https://huggingface.co/MahmoodLab/CONCH/resolve/"
              "f9ca9f877171a28ade80228fb195ac5d79003357/pytorch_model.bin",
       .page = "https://huggingface.co/MahmoodLab/CONCH",
       .licence = "CC BY-NC-ND 4.0 with further terms: research only, not to be passed on",
       .gated = true,
       .bytes = 802'235'437,
       .sha256 = "40a9644b9ba0e83a74576e0a5e5f7313599fa9c9cdaf3c20f8a3e271b0e9ae7c",
       .sha256_prefix = "",
       .unverified = "size and SHA-256 are as other projects publish them"},
  }};
  return kEntries;
}

const WeightsEntry& find_weights(std::string_view name) {
  std::vector<std::string> names;
  for (const WeightsEntry& entry : weights_catalogue()) {
    if (entry.name == name) return entry;
    names.emplace_back(entry.name);
  }
  throw Error(ErrorKind::kUsage,
              fmt::format("weights '{}', expected one of: {}{}",
                          name,
                          join(names, ", "),
                          did_you_mean(name, names)));
}

}  // namespace med3d
