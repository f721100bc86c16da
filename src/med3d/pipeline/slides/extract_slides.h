// The second half of a slide job: every tile through an encoder, every slide to a feature file.
//
// Reading and encoding overlap: readers fill a bounded queue of batches, several slides at once,
// and the calling thread empties it through the encoder. Memory does not grow with a slide: its
// features go to a partial file batch by batch, and from there to the finished files. A job that
// was killed goes on with the batch after the last one written, and ends with the same bytes, as an
// encoder gives a tile the same bits in any batch.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "med3d/core/progress.h"
#include "med3d/encoders/encoder.h"
#include "med3d/pipeline/engine.h"
#include "med3d/pipeline/slides/slide_folder.h"
#include "med3d/pipeline/slides/slide_list.h"
#include "med3d/pipeline/slides/slide_outcome.h"
#include "med3d/wsi/quality.h"
#include "med3d/wsi/stain.h"

namespace med3d::pipeline {

// A loaded encoder and what a record must say of it.
struct LoadedEncoder {
  std::unique_ptr<Encoder> encoder;
  std::string name;            // "resnet50"
  std::string weights_sha256;  // empty for an untrained one
  bool trained = true;
  std::int64_t input_px = 224;
  std::string options;  // of an encoder that has some: what else decides its features' bits
  ChosenEngine engine;
};

// Where the time of an extraction went. The encoding thread encodes, waits for tiles, or writes.
struct ExtractTimes {
  std::int64_t tiles = 0;      // encoded
  double calibrate_s = 0.0;    // wall, before all that: tiles read and encoded for int8's scales
  double wall_s = 0.0;         // from the first slide opened to the last file written
  double first_s = 0.0;        // wall, from the start of the process to the first batch encoded
  double encode_s = 0.0;       // wall, inside the encoder
  double wait_s = 0.0;         // wall, for tiles: readers too slow
  double read_cpu_s = 0.0;     // processor time of all readers: decoding, resizing, stains
  double process_cpu_s = 0.0;  // of the whole process in that time

  double busy() const { return wall_s > 0 ? encode_s / wall_s : 0.0; }  // share, encoder at work
  double read_share() const { return process_cpu_s > 0 ? read_cpu_s / process_cpu_s : 0.0; }
};

struct ExtractJob {
  std::int64_t batch = 16;  // tiles at once
  int readers = 1;          // slides read at the same time
  // Of a slide's tiles that may be unreadable, each left out and counted; above it the slide fails.
  double max_bad_tiles = 0.01;
  StainOptions stain;          // kNone: off
  bool check_quality = false;  // drop blank, black, blurred and inked tiles
  QualityOptions quality;
  std::uint64_t seed = 0;         // of the stain sample
  bool redo = false;              // also what is there already
  std::filesystem::path patches;  // coordinates of another job; empty = the folder's own
  bool write_h5 = true;
  bool write_pt = true;
  bool write_safetensors = false;
  // Called once, when all slides are done, where anything was encoded; or none. What it is told
  // belongs to this run and to no record.
  std::function<void(const ExtractTimes&)> times;
};

// Encodes the tiles of patches/<id>.h5 (ours, CLAM's or TRIDENT's <id>_patches.h5) of each slide
// and writes h5_files/, pt_files/ and the slide's record.
//
// slides    those to encode
// tiled     outcomes of tile_slides for the same slides, or empty: those that failed or are empty
//           are passed through as they are
//
// A slide whose record fits (tiles, encoder, weights, options) and whose files have the sizes it
// says is kept. Values that are not finite end the slide, before anything is written of them.
//
// Throws Error(kIo) if the folder cannot be written; everything of one slide is its outcome.
std::vector<SlideOutcome> extract_slides(const std::vector<SlideItem>& slides,
                                         std::vector<SlideOutcome> tiled,
                                         const SlideFolder& folder,
                                         LoadedEncoder& encoder,
                                         const ExtractJob& job,
                                         Progress& progress);

}  // namespace med3d::pipeline
