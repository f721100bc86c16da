// From scans to embeddings: one .npy a scan, in folders of patients.
//
// One thread reads and prepares the next scan while the calling thread encodes; one prepared scan
// waits at most, so that memory is that of the largest scan, three prepared ones and the encoder,
// however many there are. A scan's features are written, old or new and never half, with a record
// of all that decides them; a job that was killed goes on with the first scan without a record.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "med3d/core/progress.h"
#include "med3d/encoders/volume_encoder.h"
#include "med3d/pipeline/engine.h"
#include "med3d/pipeline/volumes/scan.h"
#include "med3d/pipeline/volumes/volume_folder.h"
#include "med3d/pipeline/volumes/volume_list.h"
#include "med3d/pipeline/volumes/volume_outcome.h"

namespace med3d::pipeline {

// A loaded encoder and what a record must say of it.
struct LoadedVolumeEncoder {
  std::unique_ptr<VolumeEncoder> encoder;
  std::string name;            // "medicalnet-resnet18"
  std::string weights_sha256;  // empty for an untrained one
  bool trained = true;
  Shortcut shortcut = Shortcut::kPublished;
  std::uint64_t seed = 0;  // of an untrained one's weights
  ChosenEngine engine;

  // All of it that decides an embedding's bits.
  std::string text() const;
  // For records and the documents of commands.
  Json to_json() const;
};

struct ExtractVolumesJob {
  SeriesOptions series;  // its threads decode, beside those of the encoder
  PrepareOptions prepare;
  bool redo = false;  // also what is there already
  VolumeHooks hooks;
};

// Encodes each scan that is kept and of CT or MR, and writes its features and record.
//
// A scan whose record fits (content of its files, recipe, encoder, weights, options) and whose
// features have the hash it says is kept as it is: for that its files are read, but not decoded.
// Values that are not finite end the scan before anything is written of it.
//
// Throws Error(kUsage) as the options' validate; everything of one scan is its outcome, a full disk
// too. Outcomes are in the order of the scans. Throws Stopped between scans (core/stop.h).
std::vector<VolumeOutcome> extract_volumes(const std::vector<VolumeItem>& scans,
                                           const VolumeFolder& folder,
                                           LoadedVolumeEncoder& encoder,
                                           const ExtractVolumesJob& job,
                                           Progress& progress);

}  // namespace med3d::pipeline
