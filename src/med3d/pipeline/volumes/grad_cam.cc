#include "med3d/pipeline/volumes/grad_cam.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <system_error>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/parallel.h"
#include "med3d/core/text.h"
#include "med3d/io/formats/png.h"
#include "med3d/radiology/montage.h"
#include "med3d/radiology/nifti.h"
#include "med3d/wsi/colour_map.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;

// Linear between the two positions about `at`, the outermost kept beyond them.
struct Step {
  std::size_t low = 0;
  std::size_t high = 0;
  double share = 0.0;  // of the higher one
};

Step step_at(double at, std::int64_t count) {
  const double inside = std::clamp(at, 0.0, static_cast<double>(count - 1));
  Step out;
  out.low = static_cast<std::size_t>(inside);
  out.high = std::min(out.low + 1, static_cast<std::size_t>(count - 1));
  out.share = inside - static_cast<double>(out.low);
  return out;
}

// A name that is safe as part of a path: letters, digits, '-' and '_' alone.
std::string safe_name(const fs::path& scan) {
  fs::path plain = scan.has_filename() ? scan.filename() : scan.parent_path().filename();
  std::string name = plain.string();
  for (const char* ending : {".gz", ".nii", ".npy"}) {
    if (to_lower(name).ends_with(ending)) name.resize(name.size() - std::string(ending).size());
  }
  for (char& c : name) {
    const bool kept = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      c == '-' || c == '_';
    if (!kept) c = '_';
  }
  return name.empty() ? "scan" : name;
}

}  // namespace

std::vector<float> class_activation(const FeatureMap& map, std::span<const float> gradient) {
  const auto channels = static_cast<std::size_t>(map.shape[0]);
  const auto positions = static_cast<std::size_t>(map.shape[1] * map.shape[2] * map.shape[3]);
  if (gradient.size() != channels || map.values.size() != channels * positions) {
    throw Error(
        ErrorKind::kUsage,
        fmt::format(
            "a gradient of {} numbers for a map of {} channels", gradient.size(), channels));
  }
  std::vector<double> sum(positions, 0.0);
  for (std::size_t c = 0; c < channels; ++c) {
    const double weight = static_cast<double>(gradient[c]) / static_cast<double>(positions);
    for (std::size_t p = 0; p < positions; ++p) sum[p] += weight * map.values[c * positions + p];
  }
  return {sum.begin(), sum.end()};
}

Volume heat_on_scan(std::span<const float> activation,
                    const std::array<std::int64_t, 3>& shape,
                    std::int64_t stride,
                    const Volume& prepared,
                    const Volume& scan,
                    int threads) {
  if (activation.size() != static_cast<std::size_t>(shape[0] * shape[1] * shape[2])) {
    throw Error(ErrorKind::kUsage,
                fmt::format("{} values for a map of {} x {} x {}",
                            activation.size(),
                            shape[0],
                            shape[1],
                            shape[2]));
  }
  Volume heat;
  heat.size = scan.size;
  heat.spacing_mm = scan.spacing_mm;
  heat.patient_from_voxel = scan.patient_from_voxel;
  heat.voxels.assign(scan.voxels.size(), 0.0F);
  const Affine prepared_from_scan = inverse(prepared.patient_from_voxel) * scan.patient_from_voxel;
  const auto value = [&](std::size_t z, std::size_t y, std::size_t x) {
    const auto rows = static_cast<std::size_t>(shape[1]);
    const auto columns = static_cast<std::size_t>(shape[2]);
    return std::max(0.0, static_cast<double>(activation[(z * rows + y) * columns + x]));
  };
  parallel_for(static_cast<std::size_t>(scan.size[2]), threads, [&](std::size_t slice) {
    const auto z = static_cast<std::int64_t>(slice);
    for (std::int64_t y = 0; y < scan.size[1]; ++y) {
      for (std::int64_t x = 0; x < scan.size[0]; ++x) {
        const Vector3 at = prepared_from_scan(
            {static_cast<double>(x), static_cast<double>(y), static_cast<double>(z)});
        std::array<Step, 3> steps;  // x, y, z
        bool seen = true;
        for (std::size_t a = 0; a < 3; ++a) {
          // Where the grid became coarser, a scan's outer voxels lie up to half a voxel beyond the
          // middle of the prepared ones.
          seen = seen && at[a] >= -0.5 - 1e-6 &&
                 at[a] <= static_cast<double>(prepared.size[a]) - 0.5 + 1e-6;
          steps[a] = step_at(at[a] / static_cast<double>(stride), shape[2 - a]);
        }
        if (!seen) continue;
        double sum = 0.0;
        for (int corner = 0; corner < 8; ++corner) {
          double share = 1.0;
          std::array<std::size_t, 3> index{};
          for (std::size_t a = 0; a < 3; ++a) {
            const bool high = ((corner >> a) & 1) != 0;
            index[a] = high ? steps[a].high : steps[a].low;
            share *= high ? steps[a].share : 1.0 - steps[a].share;
          }
          if (share > 0.0) sum += share * value(index[2], index[1], index[0]);
        }
        heat.at(x, y, z) = static_cast<float>(sum);
      }
    }
  });
  return heat;
}

std::string overlay_png(const Volume& scan, const Volume& heat, double alpha) {
  const Montage grey = montage(scan);
  MontageOptions options;
  const float highest = *std::max_element(heat.voxels.begin(), heat.voxels.end());
  options.window = GreyWindow{0.0, highest > 0.0F ? static_cast<double>(highest) : 1.0};
  const Montage hot = montage(heat, options);  // the same grid, so the same tiles
  const auto& colours = colour_table(ColourMap::kJet);
  std::vector<std::uint8_t> rgb;
  rgb.reserve(grey.pixels.size() * 3);
  for (std::size_t i = 0; i < grey.pixels.size(); ++i) {
    const double share = alpha * hot.pixels[i] / 255.0;
    for (const std::uint8_t colour : colours[hot.pixels[i]]) {
      rgb.push_back(
          static_cast<std::uint8_t>(std::lround((1.0 - share) * grey.pixels[i] + share * colour)));
    }
  }
  return png_bytes(rgb, grey.width, grey.height, 3);
}

std::size_t ExplainSummary::failed() const {
  return static_cast<std::size_t>(std::count_if(
      scans.begin(), scans.end(), [](const ScanExplanation& s) { return !s.error.empty(); }));
}

Json ExplainSummary::to_json() const {
  Json out = Json::array();
  for (const ScanExplanation& scan : scans) {
    if (!scan.error.empty()) {
      out.push_back({{"name", scan.name}, {"error", scan.error}});
      continue;
    }
    out.push_back({{"name", scan.name},
                   {"logit", scan.logit},
                   {"probability", scan.probability},
                   {"peak_voxel", scan.highest > 0.0 ? Json(scan.peak) : Json(nullptr)},
                   {"highest", scan.highest}});
  }
  return out;
}

std::string ExplainSummary::text() const {
  std::string out;
  for (const ScanExplanation& scan : scans) {
    if (!scan.error.empty()) {
      out += fmt::format("{}: failed: {}\n", scan.name, scan.error);
    } else if (scan.highest > 0.0) {
      out += fmt::format("{}: probability {:.3f}, most heat at voxel {}, {}, {}\n",
                         scan.name,
                         scan.probability,
                         scan.peak[0],
                         scan.peak[1],
                         scan.peak[2]);
    } else {
      out += fmt::format("{}: probability {:.3f}, no heat\n", scan.name, scan.probability);
    }
  }
  return out;
}

ExplainSummary explain_volumes(const ExplainJob& job, Progress& progress) {
  if (!(job.alpha > 0.0 && job.alpha <= 1.0)) {
    throw Error(ErrorKind::kUsage,
                fmt::format("alpha is {}, expected a number in (0, 1]", job.alpha));
  }
  const VolumeModel model = read_volume_model(job.model);
  make_folder(job.output);
  remove_stale_temporaries(job.output);
  if (!job.overwrite && !fs::is_empty(job.output)) {
    throw Error(ErrorKind::kUsage, job.output.string() + ": the folder is not empty");
  }
  const auto encoder = model.encoder(job.threads);
  std::vector<float> gradient = model.head();
  if (job.negative) {
    for (float& g : gradient) g = -g;
  }
  const double bias = nn::find_parameter(model.parameters, "fc.bias").values.front();
  const std::int64_t stride = model.design.dilated ? 8 : 32;

  ExplainSummary summary;
  std::set<std::string> names;
  progress.start("scans", job.scans.size());
  for (const fs::path& path : job.scans) {
    ScanExplanation said;
    const std::string base = safe_name(path);
    said.name = base;
    for (int n = 2; !names.insert(said.name).second; ++n) said.name = fmt::format("{}-{}", base, n);
    try {
      const Volume scan = read_scan(path, job.threads);
      const Volume prepared = model.preparation.apply(scan, job.threads);
      std::vector<float> embedding(static_cast<std::size_t>(model.design.embedding_dim()));
      const FeatureMap map =
          encoder->encode_with_map(prepared.voxels, model.preparation.extent, embedding);
      const std::vector<float> activation = class_activation(map, gradient);
      said.logit = bias;
      for (std::size_t c = 0; c < embedding.size(); ++c) {
        said.logit += (job.negative ? -1.0 : 1.0) * static_cast<double>(gradient[c]) * embedding[c];
      }
      said.probability = 1.0 / (1.0 + std::exp(-said.logit));
      const Volume heat = heat_on_scan(activation,
                                       {map.shape[1], map.shape[2], map.shape[3]},
                                       stride,
                                       prepared,
                                       scan,
                                       job.threads);
      const auto peak = std::max_element(heat.voxels.begin(), heat.voxels.end());
      const std::int64_t at = peak - heat.voxels.begin();
      said.peak = {
          at % heat.size[0], at / heat.size[0] % heat.size[1], at / heat.size[0] / heat.size[1]};
      said.highest = *peak;
      write_file_atomic(job.output / (said.name + "_cam.png"), overlay_png(scan, heat, job.alpha));
      write_nifti(job.output / (said.name + "_cam.nii.gz"), heat);
    } catch (const Error& error) {
      said.error = error.what();
    }
    summary.scans.push_back(std::move(said));
    progress.advance();
  }
  write_json(job.output / "explanations.json",
             {{"model_sha256", model.sha256},
              {"layer", "last"},
              {"class", job.negative ? "negative" : "positive"},
              {"scans", summary.to_json()}});
  progress.finish();
  return summary;
}

}  // namespace med3d::pipeline
