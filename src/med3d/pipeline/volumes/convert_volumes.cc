#include "med3d/pipeline/volumes/convert_volumes.h"

#include <fmt/format.h>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/hash.h"
#include "med3d/core/json.h"
#include "med3d/io/formats/png.h"
#include "med3d/pipeline/volumes/patient_names.h"
#include "med3d/pipeline/volumes/scan.h"
#include "med3d/radiology/acquisition.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;

// Does `work(scan, outcome)` with each; what it throws is the scan's outcome.
template <class Work>
std::vector<VolumeOutcome> each_scan(const std::vector<VolumeItem>& scans,
                                     std::string_view step,
                                     Progress& progress,
                                     const Work& work) {
  std::vector<VolumeOutcome> outcomes;
  progress.start(step, scans.size());
  for (const auto& scan : scans) {
    VolumeOutcome outcome;
    outcome.patient = scan.patient;
    outcome.series = scan.series;
    outcome.modality = scan.modality;
    outcome.files = static_cast<std::int64_t>(scan.files.size());
    outcome.step = "read";
    try {
      if (!scan.problem.empty()) throw Error(ErrorKind::kData, scan.problem);
      if (!safe_name(scan.patient) || !safe_name(scan.series)) {
        throw Error(ErrorKind::kUsage, "a patient or series whose name is not safe as a file's");
      }
      work(scan, outcome);
    } catch (const std::exception& error) {
      outcome.status = VolumeStatus::kFailed;
      outcome.reason = describe(error);
    }
    outcomes.push_back(std::move(outcome));
    progress.advance();
  }
  return outcomes;
}

SeriesVolume load(const VolumeItem& scan, const SeriesOptions& options, VolumeOutcome& outcome) {
  SeriesVolume out = load_scan(scan, options);
  outcome.size = out.volume.size;
  outcome.spacing_mm = out.volume.spacing_mm;
  outcome.warnings = out.notes;
  outcome.step = "write";
  return out;
}

Json sidecar(const VolumeItem& scan, const SeriesVolume& loaded) {
  const Volume& volume = loaded.volume;
  Json out = {{"schema", 1},
              {"Modality", scan.modality},
              {"size", volume.size},
              {"spacing_mm", volume.spacing_mm},
              {"orientation", orientation_code(volume.patient_from_voxel)},
              {"patient_from_voxel_lps", volume.patient_from_voxel.m},
              {"plane_acquired", to_string(loaded.plane)},
              {"units", to_string(volume.units)},
              {"images", loaded.images},
              {"duplicates", loaded.duplicates},
              {"interpolated", loaded.interpolated},
              {"tilt_degrees", loaded.tilt_degrees},
              {"notes", loaded.notes}};
  if (!scan.is_nifti()) out["acquisition"] = acquisition_parameters(scan.files.front());
  return out;
}

}  // namespace

std::vector<VolumeOutcome> convert_volumes(const std::vector<VolumeItem>& scans,
                                           const fs::path& folder,
                                           const ConvertJob& job,
                                           Progress& progress) {
  job.series.validate();
  return each_scan(
      scans, "converting scans", progress, [&](const VolumeItem& scan, VolumeOutcome& outcome) {
        const fs::path nifti = folder / scan.patient / (scan.series + ".nii.gz");
        const fs::path json = folder / scan.patient / (scan.series + ".json");
        const std::string key = sha256_hex(fmt::format("{} {} {} {} {} {}",
                                                       files_sha256(scan),
                                                       static_cast<int>(job.type),
                                                       job.orientation,
                                                       static_cast<int>(job.series.tilt),
                                                       static_cast<int>(job.series.gaps),
                                                       job.series.position_tolerance));
        if (!job.redo && fs::exists(json) && fs::exists(nifti)) {
          try {
            const Json found = read_json(json);
            if (found.at("key") == key &&
                found.at("nifti_sha256").get<std::string>() == sha256_file(nifti)) {
              outcome.size = found.at("size").get<std::array<std::int64_t, 3>>();
              outcome.spacing_mm = found.at("spacing_mm").get<std::array<double, 3>>();
              outcome.warnings = found.at("notes").get<std::vector<std::string>>();
              outcome.step = "write";
              outcome.status = VolumeStatus::kKept;
              return;
            }
          } catch (const std::exception&) {
            // A damaged sidecar is none: it is made again.
          }
        }
        SeriesVolume loaded = load(scan, job.series, outcome);
        if (!job.orientation.empty()) loaded.volume = reorient(loaded.volume, job.orientation);
        // An old sidecar must not speak for a new volume, should a kill come between the two.
        fs::remove(json);
        NiftiWrite write;
        write.type = job.type;
        const std::string bytes = nifti_bytes(loaded.volume, write);
        write_file_atomic(nifti, bytes);
        Json record = sidecar(scan, loaded);
        record["nifti_sha256"] = sha256_hex(bytes);
        record["key"] = key;
        write_json(json, record);
      });
}

std::vector<VolumeOutcome> preview_volumes(const std::vector<VolumeItem>& scans,
                                           const fs::path& folder,
                                           const PreviewJob& job,
                                           Progress& progress) {
  job.series.validate();
  job.montage.validate();
  return each_scan(
      scans, "painting scans", progress, [&](const VolumeItem& scan, VolumeOutcome& outcome) {
        const SeriesVolume loaded = load(scan, job.series, outcome);
        const Montage page = montage(loaded.volume, job.montage);
        write_file_atomic(folder / (scan.patient + "_" + scan.series + ".png"),
                          png_bytes(page.pixels, page.width, page.height, 1));
      });
}

}  // namespace med3d::pipeline
