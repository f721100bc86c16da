// Where in a scan a model saw what it decided by: Grad-CAM of an encoder's last map.
//
// The embedding is the mean of the last map over its positions, so the gradient of a model's logit
// z with respect to channel c is the same at each of them: dz/dA_c(p) = g_c / P, with g the
// gradient with respect to the embedding and P the number of positions. Grad-CAM's weight (their
// mean) is that, and
//
//   heat(p) = max(0, sum_c g_c A_c(p) / P)
//
// For a linear head, g is its weight vector and the heat before max(0, .) sums to z less its bias:
// what a voxel of the map adds to the logit.
//
// Position o of the map along an axis is the middle of what it sees at voxel stride * o of the
// prepared volume (padding is half of each kernel): stride 8 in MedicalNet's design, 32 in MONAI's.
// From there heat goes trilinearly to the scan's own voxels through the maps of both, so crops,
// resampling and orientation are undone. The map is as coarse as its stride; what is finer in the
// heat is interpolation. It shows what the model used, not where a disease is.
//
// Source: Selvaraju et al., ICCV 2017, doi:10.1109/ICCV.2017.74.
// Checked against: central differences of the logit, the sum above, a planted blob.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "med3d/core/json.h"
#include "med3d/core/progress.h"
#include "med3d/encoders/volume_encoder.h"
#include "med3d/pipeline/volumes/volume_model.h"
#include "med3d/radiology/volume.h"

namespace med3d::pipeline {

// map        (channels, depth, height, width)
// gradient   (channels,) of the logit with respect to the embedding
// Gives (depth, height, width), what each position adds; not yet cut at 0.
// Throws Error(kUsage) if the sizes differ.
std::vector<float> class_activation(const FeatureMap& map, std::span<const float> gradient);

// activation  (depth, height, width) of a map of `stride`
// prepared    the grid that the encoder saw
// scan        whose grid the result has: size, spacing, patient_from_voxel
// Negative values are cut first; voxels outside of what the encoder saw are 0.
Volume heat_on_scan(std::span<const float> activation,
                    const std::array<std::int64_t, 3>& shape,
                    std::int64_t stride,
                    const Volume& prepared,
                    const Volume& scan,
                    int threads);

// Slices of the scan in grey under its heat in colour (jet, the more heat the less grey), as RGB
// rows; width and height of the montage.
std::string overlay_png(const Volume& scan, const Volume& heat, double alpha);

struct ExplainJob {
  std::filesystem::path model;               // folder of `volume finetune`
  std::vector<std::filesystem::path> scans;  // as read_scan
  std::filesystem::path output;
  bool negative = false;  // what speaks against the class instead
  double alpha = 0.5;     // share of colour where the heat is highest, in (0, 1]
  int threads = 1;
  bool overwrite = false;
};

struct ScanExplanation {
  std::string name;   // of its files: <name>_cam.nii.gz, <name>_cam.png
  std::string error;  // why there are none; empty if there are
  double logit = 0.0;
  double probability = 0.0;
  std::array<std::int64_t, 3> peak{};  // voxel x, y, z of the highest heat
  double highest = 0.0;                // heat there; 0: nothing speaks for the class
};

struct ExplainSummary {
  std::vector<ScanExplanation> scans;
  std::size_t failed() const;
  Json to_json() const;
  std::string text() const;
};

// Writes both files of each scan, and explanations.json with all of the above. A scan that fails is
// recorded, the others go on.
// Throws as read_volume_model; Error(kUsage) for an output that is not empty unless `overwrite`.
ExplainSummary explain_volumes(const ExplainJob& job, Progress& progress);

}  // namespace med3d::pipeline
