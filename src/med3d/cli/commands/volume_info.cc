#include <fmt/format.h>

#include "med3d/cli/command.h"
#include "med3d/cli/commands/item_output.h"
#include "med3d/cli/commands/volume_input.h"
#include "med3d/core/json.h"
#include "med3d/core/text.h"
#include "med3d/radiology/nifti.h"

namespace med3d {
namespace {

void tell_volume(const Volume& volume, Json& out) {
  out["size"] = volume.size;
  out["spacing_mm"] = volume.spacing_mm;
  out["orientation"] = orientation_code(volume.patient_from_voxel);
  out["plane"] = to_string(plane_of(volume.patient_from_voxel));
  out["units"] = to_string(volume.units);
}

void tell_dicom(const pipeline::VolumeItem& scan, const SeriesOptions& series, Json& out) {
  const SeriesInfo info = inspect_series(scan.files, series);
  out["size"] = info.size;
  out["spacing_mm"] = info.spacing_mm;
  out["orientation"] = info.orientation;
  out["plane"] = to_string(info.plane);
  out["units"] = to_string(info.units);
  out["bits_stored"] = info.bits_stored;
  out["signed"] = info.is_signed;
  out["transfer_syntaxes"] = info.transfer_syntaxes;
  out["images"] = info.images;
  out["at_one_place"] = info.images - info.places;
  out["tilt_degrees"] = info.tilt_degrees;
  out["notes"] = info.notes;
}

Json facts_of(const pipeline::VolumeItem& scan, const SeriesOptions& series, bool pixels) {
  Json out = {{"patient", scan.patient},
              {"series", scan.series},
              {"modality", scan.modality},
              {"format", scan.is_nifti() ? "NIfTI" : "DICOM"},
              {"files", scan.files.size()},
              {"status", "done"}};
  try {
    if (!scan.problem.empty()) throw Error(ErrorKind::kData, scan.problem);
    if (!scan.is_nifti()) tell_dicom(scan, series, out);
    if (scan.is_nifti() || pixels) {
      const SeriesVolume loaded = pipeline::load_scan(scan, series);
      tell_volume(loaded.volume, out);
      const auto [low, high] = std::ranges::minmax(loaded.volume.voxels);
      out["range"] = {low, high};
      out["notes"] = loaded.notes;
    }
  } catch (const std::exception& error) {
    out["status"] = "failed";
    out["problem"] = describe(error);
  }
  return out;
}

std::string text_of(const Json& facts) {
  const auto word = [&](const char* name) { return facts.at(name).get<std::string>(); };
  std::string text = word("patient") + "/" + word("series") + "\n";
  const auto line = [&](std::string_view name, const std::string& value) {
    text += fmt::format("  {:<12}{}\n", name, value);
  };
  const auto files = facts.at("files").get<std::size_t>();
  line("scan",
       fmt::format("{} {}, {} {}",
                   word("modality").empty() ? "unknown modality" : word("modality"),
                   word("format"),
                   files,
                   files == 1 ? "file" : "files"));
  if (facts.contains("size")) {
    const auto size = facts.at("size").get<std::array<std::int64_t, 3>>();
    const auto spacing = facts.at("spacing_mm").get<std::array<double, 3>>();
    line("size", fmt::format("{} x {} x {} voxels", size[0], size[1], size[2]));
    line("spacing", fmt::format("{:.6g} x {:.6g} x {:.6g} mm", spacing[0], spacing[1], spacing[2]));
    line("axes", fmt::format("{}, {}", word("orientation"), word("plane")));
    line("units", word("units"));
  }
  if (facts.contains("transfer_syntaxes")) {
    line("stored",
         fmt::format("{}, {} bits{}",
                     join(facts.at("transfer_syntaxes").get<std::vector<std::string>>(), ", "),
                     facts.at("bits_stored").get<int>(),
                     facts.at("signed").get<bool>() ? ", signed" : ""));
    const auto doubled = facts.at("at_one_place").get<std::size_t>();
    line("images",
         fmt::format("{}{}",
                     facts.at("images").get<std::size_t>(),
                     doubled > 0 ? fmt::format(", {} at a place of another", doubled) : ""));
    const auto tilt = facts.at("tilt_degrees").get<double>();
    if (tilt > 0) line("tilt", fmt::format("{:.3g} degrees", tilt));
  }
  if (facts.contains("range")) {
    line("range",
         fmt::format("{:.6g} to {:.6g}",
                     facts.at("range").at(0).get<double>(),
                     facts.at("range").at(1).get<double>()));
  }
  if (facts.contains("notes")) {
    for (const auto& note : facts.at("notes")) line("note", note.get<std::string>());
  }
  if (facts.contains("problem")) line("problem", word("problem"));
  return text;
}

int run(const Options& options) {
  const auto progress = make_console_progress(options.quiet() || options.json());
  auto series = read_geometry(options);
  series.threads = options.threads();
  const auto scans = read_scans(options, *progress);
  const auto facts = [&](const pipeline::VolumeItem& scan) {
    return facts_of(scan, series, options.flag("pixels"));
  };
  return tell_facts(options, *progress, "scans", scans, facts, text_of);
}

}  // namespace

extern const Command volume_info_command;
const Command volume_info_command = {
    .name = "volume info",
    .summary = "Show what CT and MR scans are: geometry, units, how they are stored, problems",
    .reference = "",
    .examples = {{"med3d volume info scans/", "Every series of a folder, from its headers"},
                 {"med3d volume info scans/ --pixels --json",
                  "Pixels are decoded too: the whole truth, for a program"}},
    .declare =
        [](Schema& schema) {
          declare_scans(schema);
          declare_geometry(schema);
          schema.flag("pixels", "decode the pixels too: finds what headers do not tell");
          add_common_threads(schema);
        },
    .run = run,
};

}  // namespace med3d
