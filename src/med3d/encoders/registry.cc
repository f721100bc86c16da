#include <array>
#include <string>
#include <vector>

#include "med3d/core/error.h"
#include "med3d/core/text.h"
#include "med3d/encoders/encoder.h"

namespace med3d {

extern const EncoderSpec conch_encoder;               // conch.cc
extern const EncoderSpec resnet50_encoder;            // resnet50.cc
extern const EncoderSpec resnet50_untrained_encoder;  // resnet50.cc
extern const EncoderSpec uni_encoder;                 // uni.cc
extern const EncoderSpec vit_l16_untrained_encoder;   // uni.cc

std::span<const EncoderSpec* const> encoders() {
  static constexpr std::array<const EncoderSpec*, 5> kEncoders = {
      &resnet50_encoder,
      &resnet50_untrained_encoder,
      &uni_encoder,
      &vit_l16_untrained_encoder,
      &conch_encoder,
  };
  return kEncoders;
}

const EncoderSpec& find_encoder(std::string_view name) {
  std::vector<std::string> names;
  for (const EncoderSpec* spec : encoders()) {
    if (spec->name == name) return *spec;
    names.emplace_back(spec->name);
  }
  throw Error(ErrorKind::kUsage,
              "encoder '" + std::string(name) + "', expected one of: " + join(names, ", ") +
                  did_you_mean(name, names));
}

}  // namespace med3d
