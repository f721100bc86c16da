// A trained classifier of scans as a folder: model.json says everything, model.safetensors holds
// the numbers. The arrays have MedicalNet's names, so that they are also weights of an encoder
// (--weights of volume commands; `fc.*`, the head, is left out there).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "med3d/encoders/medicalnet.h"
#include "med3d/nn/volume_classifier.h"
#include "med3d/pipeline/volumes/volume_dataset.h"

namespace med3d::pipeline {

nn::VolumeNetDesign net_design(const MedicalNetDesign& design);
MedicalNetDesign encoder_design(const nn::VolumeNetDesign& design);

// Tensors of a weights file as parameters; a head among them (fc.*, conv_seg.*) is left out.
nn::Parameters encoder_parameters(const Weights& weights);

struct VolumeModel {
  nn::VolumeNetDesign design;
  VolumePreparation preparation;
  double threshold = 0.5;  // fixed on validation
  nn::Parameters parameters;
  std::string sha256;  // of model.json

  // The encoder that made the embedding, on oneDNN (encoders/medicalnet.h), and the head on it.
  std::unique_ptr<VolumeEncoder> encoder(int threads) const;
  std::vector<float> head() const;  // (embedding,) fc.weight: the gradient of the logit
};

// `facts` are added to model.json.
void write_volume_model(const std::filesystem::path& folder,
                        const VolumeModel& model,
                        const Json& facts);

// Nothing the files say is taken on trust.
// Throws Error(kNotFound) where there is no model, kFormat where the files break their format or do
// not belong together, kUnsupported for a format of a later version.
VolumeModel read_volume_model(const std::filesystem::path& folder);

}  // namespace med3d::pipeline
