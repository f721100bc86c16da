// Slides read in workers against the same read here, and decoders that crash. This file has the
// main() of all tests of the module: the worker is this program.
#include "med3d/wsi/slide_worker.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "med3d/core/file.h"
#include "med3d/core/random.h"
#include "med3d/io/formats/png.h"
#include "med3d/io/test_support.inc"
#include "med3d/wsi/synth_slide.h"

namespace med3d {
namespace {

namespace fs = std::filesystem;
using testing_io::expect_error;
using testing_io::TemporaryFolder;
using testing_io::test_data_folder;
using testing_io::write_bytes;

// The service of slides; a slide called crash-on-open or crash-on-read does that.
class CrashingSession : public WorkerSession {
 public:
  void serve(MessageReader& request,
             std::span<std::uint8_t> shared,
             MessageWriter& answer) override {
    const bool opening = session_ == nullptr;
    if (opening) {
      MessageReader look = request;
      look.value<std::uint8_t>();  // that it is to be opened
      path_ = look.text();
      session_ = slide_worker_service.start();
    }
    if (path_.find(opening ? "crash-on-open" : "crash-on-read") != path_.npos) ::abort();
    session_->serve(request, shared, answer);
  }

 private:
  std::string path_;
  std::unique_ptr<WorkerSession> session_;
};

const WorkerService kService = {
    "slide", [] { return std::unique_ptr<WorkerSession>(std::make_unique<CrashingSession>()); }};

class SlideWorkerTest : public testing::Test {
 protected:
  void SetUp() override {
    set_isolation(Isolation::kOn);
    set_worker_program("/proc/self/exe");
  }
  void TearDown() override {
    set_isolation(Isolation::kAuto);
    set_worker_program("");
  }
};

std::unique_ptr<Slide> open_here(const fs::path& path) {
  set_isolation(Isolation::kOff);
  auto slide = open_slide(path);
  set_isolation(Isolation::kOn);
  return slide;
}

fs::path synth(const fs::path& path) {
  SynthSlideOptions options;
  options.width = 1000;
  options.height = 700;
  write_synth_slide(path, options);
  return path;
}

void expect_equal(const SlideInfo& a, const SlideInfo& b) {
  EXPECT_EQ(a.format, b.format);
  ASSERT_EQ(a.levels.size(), b.levels.size());
  for (std::size_t i = 0; i < a.levels.size(); ++i) {
    EXPECT_EQ(a.levels[i].width, b.levels[i].width);
    EXPECT_EQ(a.levels[i].height, b.levels[i].height);
    EXPECT_EQ(a.levels[i].downsample, b.levels[i].downsample);
    EXPECT_EQ(a.levels[i].tile_width, b.levels[i].tile_width);
    EXPECT_EQ(a.levels[i].tile_height, b.levels[i].tile_height);
  }
  EXPECT_EQ(a.mpp_x, b.mpp_x);
  EXPECT_EQ(a.mpp_y, b.mpp_y);
  EXPECT_EQ(a.mpp_source, b.mpp_source);
  EXPECT_EQ(a.objective_power, b.objective_power);
  EXPECT_EQ(a.associated, b.associated);
  EXPECT_EQ(a.properties, b.properties);
}

// What both say of a slide, pieces of each level, inside and over the edge, and what lies beside.
void expect_same_slide(const fs::path& path) {
  SCOPED_TRACE(path.filename().string());
  const auto here = open_here(path);
  const auto there = open_slide(path);
  expect_equal(here->info(), there->info());
  NumpyRandom random(11);
  const SlideLevel base = here->info().levels.front();
  for (int level = 0; level < static_cast<int>(here->info().levels.size()); ++level) {
    for (int i = 0; i < 6; ++i) {
      const auto x =
          static_cast<std::int64_t>(random.randint(static_cast<std::uint64_t>(base.width) + 100)) -
          100;
      const auto y =
          static_cast<std::int64_t>(random.randint(static_cast<std::uint64_t>(base.height) + 100)) -
          100;
      const std::int64_t side = 1 + static_cast<std::int64_t>(random.randint(300));
      // Nothing of the one before may shine through.
      RgbImage a(side, side + 3, 200);
      RgbImage b(side, side + 3, 100);
      here->read_region(x, y, level, a.width, a.height, a.pixels);
      there->read_region(x, y, level, b.width, b.height, b.pixels);
      ASSERT_EQ(a, b) << "level " << level << " at " << x << ", " << y;
    }
  }
  for (const std::string& name : here->info().associated) {
    EXPECT_EQ(here->associated_image(name), there->associated_image(name)) << name;
  }
}

TEST_F(SlideWorkerTest, GivesTheSamePixelsOfOurOwnSlides) {
  const TemporaryFolder folder;
  expect_same_slide(synth(folder / "a.svs"));
  std::vector<std::uint8_t> pixels(300 * 200 * 3);
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<std::uint8_t>(i * 7);
  write_bytes(folder / "b.png", png_bytes(pixels, 300, 200, 3));
  expect_same_slide(folder / "b.png");
}

TEST_F(SlideWorkerTest, GivesTheSamePixelsOfRealSlidesByEveryReader) {
  const fs::path slides = test_data_folder() / "slides";
  if (!fs::exists(slides)) GTEST_SKIP() << "REAL SLIDES NOT FOUND: " << slides.string();
  for (const char* name : {"CMU-1-Small-Region.svs",
                           "TCGA-CR-7395-01A-01-TS1.svs",
                           "kidney-48-5.tif",
                           "mosaic.tif",
                           "pathml_small_dicom_SM_3236x2638.dcm"}) {
    if (fs::exists(slides / name)) expect_same_slide(slides / name);
  }
  set_isolation(Isolation::kOff);
  const auto here = open_slide(slides / "CMU-1-Small-Region.svs", "openslide");
  set_isolation(Isolation::kOn);
  const auto there = open_slide(slides / "CMU-1-Small-Region.svs", "openslide");
  expect_equal(here->info(), there->info());
  EXPECT_EQ(here->read_region(500, 700, 0, 256, 256), there->read_region(500, 700, 0, 256, 256));
}

TEST_F(SlideWorkerTest, ThrowsTheSameErrors) {
  const TemporaryFolder folder;
  const fs::path good = synth(folder / "a.svs");
  write_bytes(folder / "empty.svs", "");
  write_bytes(folder / "text.svs", "no slide at all");
  const auto caught = [](const std::function<void()>& work) {
    try {
      work();
    } catch (const Error& error) {
      return to_string(error.kind()) + " " + error.what();
    }
    return std::string("nothing");
  };
  using Deed = std::function<void()>;
  std::vector<std::uint8_t> pixels(300);
  const Deed deeds[] = {
      [&] { open_slide(folder / "missing.svs"); },
      [&] { open_slide(folder / "empty.svs"); },
      [&] { open_slide(folder / "text.svs"); },
      [&] { open_slide(folder / "."); },
      [&] { open_slide(good, "dicom"); },
      [&] { open_slide(good)->read_region(0, 0, 99, 10, 10, pixels); },
      [&] { open_slide(good)->read_region(0, 0, 0, 10, 11, pixels); },
      [&] { open_slide(good)->associated_image("nothing"); },
  };
  for (const Deed& deed : deeds) {
    set_isolation(Isolation::kOff);
    const std::string here = caught(deed);
    set_isolation(Isolation::kOn);
    EXPECT_EQ(caught(deed), here);
    EXPECT_NE(here, "nothing");
  }
}

TEST_F(SlideWorkerTest, ACrashCostsThisSlideAlone) {
  const TemporaryFolder folder;
  const auto on_open = synth(folder / "crash-on-open.svs");
  const auto on_read = synth(folder / "crash-on-read.svs");
  const auto good = synth(folder / "good.svs");
  const auto before = open_slide(good);
  expect_error(ErrorKind::kFormat, on_open.string() + ": the decoder crashed (signal 6)", [&] {
    open_slide(on_open);
  });
  const auto slide = open_slide(on_read);
  for (int i = 0; i < 2; ++i) {
    expect_error(ErrorKind::kFormat, on_read.string() + ": the decoder crashed (signal 6)", [&] {
      slide->read_region(0, 0, 0, 10, 10);
    });
  }
  EXPECT_EQ(before->read_region(0, 0, 0, 64, 64), open_slide(good)->read_region(0, 0, 0, 64, 64));
}

// A text of six lines that asks OpenSlide 3.4.1 for 6.4 GB: its glib ends the program.
TEST_F(SlideWorkerTest, SurvivesWhatEndsOpenSlide) {
  const TemporaryFolder folder;
  const fs::path path = folder / "bomb.vms";
  write_bytes(path,
              "[Virtual Microscope Specimen]\nNoLayers=1\nNoJpegColumns=20000\nNoJpegRows=40000\n"
              "ImageFile=a.jpg\nMapFile=m.jpg\nOptimisationFile=o.opt\n");
  expect_error(ErrorKind::kFormat, path.string() + ": the decoder crashed (signal 5)", [&] {
    open_slide(path);
  });
}

// One entry of a real slide: TileWidth of level 0 becomes 2^28. OpenSlide asks for such a tile when
// the first is read.
TEST_F(SlideWorkerTest, SurvivesARealSlideWithOneDamagedEntry) {
  const fs::path real = test_data_folder() / "slides" / "CMU-1-Small-Region.svs";
  if (!fs::exists(real)) GTEST_SKIP() << "REAL SLIDES NOT FOUND: " << real.string();
  const TemporaryFolder folder;
  std::string bytes = read_file(real, 1ULL << 30U);
  const auto number = [&](std::size_t at, int size) {
    std::size_t out = 0;
    for (int i = size; i-- > 0;) {
      out = out << 8U | static_cast<std::uint8_t>(bytes.at(at + static_cast<std::size_t>(i)));
    }
    return out;
  };
  const std::size_t first = number(4, 4);
  bool found = false;
  for (std::size_t i = 0; i < number(first, 2); ++i) {
    const std::size_t entry = first + 2 + 12 * i;
    if (number(entry, 2) != 322) continue;
    found = true;
    bytes.replace(entry + 2, 10, std::string("\x04\0\x01\0\0\0\0\0\0\x10", 10));  // a LONG
  }
  ASSERT_TRUE(found);
  const fs::path path = folder / "damaged.svs";
  write_bytes(path, bytes);
  expect_error(ErrorKind::kFormat, path.string() + ": the decoder crashed (signal 5)", [&] {
    open_slide(path, "openslide")->read_region(0, 0, 0, 64, 64);
  });
}

}  // namespace
}  // namespace med3d

int main(int argc, char** argv) {
  constexpr std::array services = {&med3d::kService};
  if (const auto code = med3d::serve_as_worker(argc, argv, services)) return *code;
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
