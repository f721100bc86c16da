// What the volume commands share: the scans, the recipe and the encoder that their options name.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "med3d/cli/command.h"
#include "med3d/core/progress.h"
#include "med3d/pipeline/volumes/extract_volumes.h"
#include "med3d/pipeline/volumes/volume_list.h"

namespace med3d {

// SCANS, --map, --modality, --keep-names, --isolate.
void declare_scans(Schema& schema);
// --masks; and --tilt, --gaps, which decide how slices become a volume.
void declare_masks(Schema& schema);
void declare_geometry(Schema& schema);
// --recipe, --size, --spacing, --orientation, --noise, --margin-mm.
void declare_recipe(Schema& schema);
// --encoder, --weights, --precision, --shortcut.
void declare_volume_encoder(Schema& schema);

// masks  folder of --masks, where a command has it
//
// Throws as find_volumes. What is no scan is told by number.
std::vector<pipeline::VolumeItem> read_scans(const Options& options,
                                             Progress& progress,
                                             const std::filesystem::path& masks = {});
// --rules, --no-filter.
void declare_filter(Schema& schema);
// The series of an index, with the filter's verdict on each. Throws as read_series_index and
// read_filter_rules.
std::vector<pipeline::VolumeItem> read_indexed_scans(const Options& options,
                                                     const std::filesystem::path& index);
// The folder of --masks, or empty. Throws Error(kNotFound) if it is none.
std::filesystem::path masks_of(const Options& options);
SeriesOptions read_geometry(const Options& options);
pipeline::PrepareOptions read_recipe(const Options& options);
// The numbers of an option; empty if one of its words is none.
std::vector<double> read_numbers(const Options& options, std::string_view name);
// Three numbers of an option like "1,1,2.5". Throws Error(kUsage).
std::array<double, 3> read_three(const Options& options, std::string_view name);
pipeline::LoadedVolumeEncoder load_volume_encoder(const Options& options);

// What every output of an untrained encoder must say, or "".
std::string untrained_notice(const pipeline::LoadedVolumeEncoder& encoder);

// Under --dry-run: which scans would be worked on. Opens no pixels and writes nothing.
int tell_scans(const Options& options,
               std::string_view command,
               const std::vector<pipeline::VolumeItem>& scans);

struct VolumeResult {
  std::string command;  // "volume extract"
  std::vector<pipeline::VolumeOutcome> outcomes;
  const pipeline::LoadedVolumeEncoder* encoder = nullptr;  // if one was at work
  std::string notice;                                      // what every output must say, or empty
  std::vector<std::string> files;  // written for all scans, for the last lines
  Json more = Json::object();      // further members of the document
};

// Writes volumes.csv and volumes.json, prints warnings and the result, and returns the exit code.
int finish_scans(const Options& options,
                 const pipeline::VolumeFolder& folder,
                 const VolumeResult& result,
                 Progress& progress);

// The whole of a command that makes files of scans, one by one: reads the list, tells it under
// --dry-run, claims the folder of --output, works and finishes.
//
// work  (scans, folder, progress) -> their outcomes
int work_on_scans(const Options& options,
                  const std::string& command,
                  const std::function<std::vector<pipeline::VolumeOutcome>(
                      const std::vector<pipeline::VolumeItem>& scans,
                      const std::filesystem::path& folder,
                      Progress& progress)>& work);

}  // namespace med3d
