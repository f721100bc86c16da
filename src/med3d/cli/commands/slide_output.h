// How the slide commands work in their folder and what they say at the end.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "med3d/cli/command.h"
#include "med3d/core/progress.h"
#include "med3d/pipeline/slides/extract_slides.h"
#include "med3d/pipeline/slides/slide_folder.h"
#include "med3d/pipeline/slides/slide_list.h"
#include "med3d/pipeline/slides/slide_outcome.h"

namespace med3d {

// --output, --threads, --overwrite, --dry-run.
void declare_slide_output(Schema& schema);

// Under --dry-run: which slides would be worked on. Opens and writes nothing.
int tell_slides(const Options& options,
                std::string_view command,
                const std::vector<pipeline::SlideItem>& slides);

struct SlideResult {
  std::string command;  // "slide tile"
  std::vector<pipeline::SlideOutcome> outcomes;
  const pipeline::LoadedEncoder* encoder = nullptr;  // if one was at work
  pipeline::ExtractTimes times;                      // tiles 0: nothing was encoded
  std::string notice;                                // what every output must say, or empty
  std::vector<std::string> files;                    // written for all slides, for the last lines
};

// Writes outcomes.csv and outcomes.json, prints warnings and the result, and returns the exit code.
int finish_slides(const Options& options,
                  const pipeline::SlideFolder& folder,
                  const SlideResult& result,
                  Progress& progress);

}  // namespace med3d
