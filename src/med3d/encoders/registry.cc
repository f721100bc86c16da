#include <array>
#include <string>
#include <vector>

#include "med3d/core/error.h"
#include "med3d/core/text.h"
#include "med3d/encoders/encoder.h"
#include "med3d/encoders/volume_encoder.h"

namespace med3d {

extern const EncoderSpec conch_encoder;               // conch.cc
extern const EncoderSpec resnet50_encoder;            // resnet50.cc
extern const EncoderSpec resnet50_untrained_encoder;  // resnet50.cc
extern const EncoderSpec uni_encoder;                 // uni.cc
extern const EncoderSpec vit_l16_untrained_encoder;   // uni.cc

extern const VolumeEncoderSpec medicalnet_resnet10_encoder;  // medicalnet.cc, as all below
extern const VolumeEncoderSpec medicalnet_resnet18_encoder;
extern const VolumeEncoderSpec medicalnet_resnet34_encoder;
extern const VolumeEncoderSpec medicalnet_resnet50_encoder;
extern const VolumeEncoderSpec monai_resnet10_encoder;
extern const VolumeEncoderSpec monai_resnet18_encoder;
extern const VolumeEncoderSpec monai_resnet34_encoder;
extern const VolumeEncoderSpec monai_resnet50_encoder;
extern const VolumeEncoderSpec resnet18_3d_untrained_encoder;

namespace {

template <class Spec>
const Spec& find(std::span<const Spec* const> specs, std::string_view name) {
  std::vector<std::string> names;
  for (const Spec* spec : specs) {
    if (spec->name == name) return *spec;
    names.emplace_back(spec->name);
  }
  throw Error(ErrorKind::kUsage,
              "encoder '" + std::string(name) + "', expected one of: " + join(names, ", ") +
                  did_you_mean(name, names));
}

}  // namespace

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

std::span<const VolumeEncoderSpec* const> volume_encoders() {
  static constexpr std::array<const VolumeEncoderSpec*, 9> kEncoders = {
      &medicalnet_resnet10_encoder,
      &medicalnet_resnet18_encoder,
      &medicalnet_resnet34_encoder,
      &medicalnet_resnet50_encoder,
      &monai_resnet10_encoder,
      &monai_resnet18_encoder,
      &monai_resnet34_encoder,
      &monai_resnet50_encoder,
      &resnet18_3d_untrained_encoder,
  };
  return kEncoders;
}

const EncoderSpec& find_encoder(std::string_view name) { return find(encoders(), name); }

const VolumeEncoderSpec& find_volume_encoder(std::string_view name) {
  return find(volume_encoders(), name);
}

}  // namespace med3d
