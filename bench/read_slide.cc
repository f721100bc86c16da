// Patches of a slide by our reader and by OpenSlide's C API, in one run on one thread.
//
//   read_slide slide=FILE [patches=1000] [size=256] [runs=2]
//
// patches  at random places of level 0, the same for both; the walk takes as many, row by row
//
// Prints patches a CPU second of both and their ratios. The sums of all pixels must agree; that is
// checked before, outside of the time.

#include <openslide.h>

#include <memory>

#include "bench/measure.h"
#include "med3d/wsi/slide.h"

namespace med3d::bench {
namespace {

struct Corner {
  std::int64_t x, y;
};

struct Outcome {
  double cpu_s = 0.0;
  std::uint64_t sum = 0;
};

Outcome by_us(const std::string& path, const std::vector<Corner>& corners, int size, bool add) {
  const Stopwatch watch;
  const auto slide = open_slide(path, "tiff");
  std::vector<std::uint8_t> rgb(static_cast<std::size_t>(size) * static_cast<std::size_t>(size) *
                                3);
  Outcome result;
  for (const Corner& corner : corners) {
    slide->read_region(corner.x, corner.y, 0, size, size, rgb);
    if (!add) continue;
    for (const std::uint8_t value : rgb) result.sum += value;
  }
  result.cpu_s = watch.cpu_s();
  return result;
}

Outcome by_openslide(const std::string& path,
                     const std::vector<Corner>& corners,
                     int size,
                     bool add) {
  const Stopwatch watch;
  const std::unique_ptr<openslide_t, decltype(&openslide_close)> slide(openslide_open(path.c_str()),
                                                                       &openslide_close);
  if (!slide) throw Error(ErrorKind::kUnsupported, path + ": OpenSlide does not open it");
  std::vector<std::uint32_t> argb(static_cast<std::size_t>(size) * static_cast<std::size_t>(size));
  Outcome result;
  for (const Corner& corner : corners) {
    openslide_read_region(slide.get(), argb.data(), corner.x, corner.y, 0, size, size);
    if (!add) continue;
    for (const std::uint32_t pixel : argb) {
      result.sum += (pixel >> 16 & 0xFFU) + (pixel >> 8 & 0xFFU) + (pixel & 0xFFU);
    }
  }
  if (const char* message = openslide_get_error(slide.get())) throw Error(ErrorKind::kIo, message);
  result.cpu_s = watch.cpu_s();
  return result;
}

int run(int argc, char** argv) {
  const Arguments arguments(
      argc, argv, {{"slide", ""}, {"patches", "1000"}, {"size", "256"}, {"runs", "2"}});
  const std::string path = arguments.text("slide");
  const int patches = arguments.count("patches");
  const int size = arguments.count("size");
  const SlideLevel base = open_slide(path, "tiff")->info().levels.front();

  NumpyRandom random(1);
  std::vector<Corner> scattered;
  std::vector<Corner> walk;
  for (int i = 0; i < patches; ++i) {
    const auto anywhere = [&](std::int64_t side) {
      return static_cast<std::int64_t>(
          random.randint(static_cast<std::uint64_t>(std::max<std::int64_t>(side - size, 1))));
    };
    const std::int64_t x = anywhere(base.width);
    scattered.push_back({x, anywhere(base.height)});
  }
  for (std::int64_t y = 0; y + size <= base.height; y += size) {
    for (std::int64_t x = 0; x + size <= base.width; x += size) {
      if (walk.size() < scattered.size()) walk.push_back({x, y});
    }
  }

  Json json = {{"program", "read_slide"}, {"patches", patches}, {"size", size}};
  std::string sentence;
  for (const auto& [name, corners] : {std::pair("random", &scattered), std::pair("walk", &walk)}) {
    double ours = 1e300;
    double theirs = 1e300;
    if (by_us(path, *corners, size, true).sum != by_openslide(path, *corners, size, true).sum) {
      throw Error(ErrorKind::kData, "the pixels of both differ");
    }
    for (int i = 0; i < arguments.count("runs"); ++i) {
      ours = std::min(ours, by_us(path, *corners, size, false).cpu_s);
      theirs = std::min(theirs, by_openslide(path, *corners, size, false).cpu_s);
    }
    const auto n = static_cast<double>(corners->size());
    json[name] = {{"patches_per_cpu_s", n / ours},
                  {"openslide_patches_per_cpu_s", n / theirs},
                  {"ratio", theirs / ours}};
    sentence += fmt::format("{}: {:.0f} patches/s, OpenSlide {:.0f}, ratio {:.2f}; ",
                            name,
                            n / ours,
                            n / theirs,
                            theirs / ours);
  }
  json["peak_mib"] = peak_mib();
  say(sentence + fmt::format("peak {:.0f} MiB", peak_mib()), json);
  return 0;
}

}  // namespace
}  // namespace med3d::bench

int main(int argc, char** argv) { return med3d::bench::guarded(med3d::bench::run, argc, argv); }
