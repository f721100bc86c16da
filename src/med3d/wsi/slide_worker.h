// Slides that are read in another process: see io/worker.h.
#pragma once

#include <filesystem>
#include <memory>
#include <string_view>

#include "med3d/io/worker.h"
#include "med3d/wsi/slide.h"

namespace med3d {

// What a program that serves as worker offers for open_slide(), under the name "slide".
extern const WorkerService slide_worker_service;

// The same as open_slide() with a worker; nothing where files are decoded in this process.
//
// Cost a region: one request and its answer, and a copy of the pixels. After a crash each further
// request throws the same Error(kFormat).
std::unique_ptr<Slide> open_isolated_slide(const std::filesystem::path& path,
                                           std::string_view format = "");

}  // namespace med3d
