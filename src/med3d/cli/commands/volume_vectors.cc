#include "med3d/cli/commands/volume_vectors.h"

#include <fmt/format.h>

#include "med3d/cli/output.h"
#include "med3d/core/json.h"

namespace med3d {

void declare_scan_pool(Schema& schema) {
  schema.choice("pool",
                "from scans to the patient's vector; most-informative: by --model, else the scan "
                "with the most voxels; attention needs --model",
                {"mean", "max", "most-informative", "attention"},
                "mean");
  schema.path("model", "model folder of a run with CT or MRI bags, for pools that ask one");
}

pipeline::AggregateVolumesJob read_scan_pool(const Options& options) {
  pipeline::AggregateVolumesJob job;
  job.pool = pipeline::parse_volume_pool(options.choice("pool"));
  if (options.given("model")) job.model = options.path("model");
  const bool asks = job.pool == pipeline::VolumePool::kAttention ||
                    job.pool == pipeline::VolumePool::kMostInformative;
  if (job.pool == pipeline::VolumePool::kAttention && job.model.empty()) {
    throw CommandError(ErrorKind::kUsage,
                       "--pool: pooling by attention needs a model that was trained",
                       "name its folder with --model; `med3d run` on these scans makes one");
  }
  if (!asks && !job.model.empty()) {
    throw Error(ErrorKind::kUsage,
                "--model: belongs to --pool attention and --pool most-informative");
  }
  return job;
}

int finish_vectors(const Options& options,
                   const pipeline::VolumeFolder& folder,
                   const pipeline::PatientVectors& vectors,
                   Progress& progress) {
  const auto written = pipeline::write_patient_vectors(folder, vectors);
  const std::size_t patients = vectors.ct_mri.case_ids.empty()
                                   ? vectors.ct.case_ids.size() + vectors.mri.case_ids.size()
                                   : vectors.ct_mri.case_ids.size();
  if (options.json()) {
    Json left = Json::array();
    for (const auto& one : vectors.left_out) {
      left.push_back({{"patient", one.scan.patient},
                      {"series", one.scan.series},
                      {"modality", one.scan.modality},
                      {"reason", one.reason}});
    }
    print_json({{"schema", 1},
                {"command", "volume aggregate"},
                {"pool", options.choice("pool")},
                {"patients", patients},
                {"scans", vectors.weights.size()},
                {"failed", std::move(left)},
                {"notes", vectors.notes},
                {"files", written}});
  } else {
    print(fmt::format("{} scans of {} patients pooled by {}, {} failed\n",
                      vectors.weights.size(),
                      patients,
                      options.choice("pool"),
                      vectors.left_out.size()));
    for (const auto& one : vectors.left_out) {
      print(fmt::format("  failed  {}/{}: {}\n", one.scan.patient, one.scan.series, one.reason));
    }
    for (const auto& note : vectors.notes) progress.warn(note);
    if (!options.quiet()) {
      for (const auto& name : written) print((folder.root / name).string() + "\n");
    }
  }
  if (vectors.left_out.empty()) return kExitDone;
  return vectors.weights.empty() ? kExitFailed : kExitSomeFailed;
}

}  // namespace med3d
