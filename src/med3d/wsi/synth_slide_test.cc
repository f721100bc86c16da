#include "med3d/wsi/synth_slide.h"

#include <gtest/gtest.h>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/wsi/visual_test_support.inc"

namespace med3d {
namespace {

SynthSlideOptions small() {
  SynthSlideOptions options;
  options.seed = 3;
  options.width = 700;
  options.height = 500;
  return options;
}

std::string bytes_of(const SynthSlideOptions& options) {
  const TemporaryFolder folder;
  write_synth_slide(folder.path() / "a.svs", options);
  return read_file(folder.path() / "a.svs", 1 << 26);
}

TEST(SynthSlide, TheSeedFixesEveryByteAtAnyNumberOfThreads) {
  SynthSlideOptions options = small();
  const std::string first = bytes_of(options);
  options.threads = 3;
  EXPECT_TRUE(bytes_of(options) == first);
  options.seed = 4;
  EXPECT_FALSE(bytes_of(options) == first);
}

TEST(SynthSlide, SaysWhatItDrew) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "a.svs";
  SynthSlideOptions options = small();
  const SynthSlideInfo info = write_synth_slide(path, options);
  EXPECT_GT(info.tissue_share, 0.25);  // of 0.4 asked for, less lumina
  EXPECT_LT(info.tissue_share, 0.60);
  EXPECT_EQ(info.bytes, std::filesystem::file_size(path));
  // 700 x 500 pixels of 0.25 um^2 are 0.0875 mm^2: 3000 nuclei for each mm^2 of its tissue.
  const double expected = 3000 * 0.0875 * info.tissue_share;
  EXPECT_NEAR(static_cast<double>(info.nuclei), expected, expected * 0.3);
  options.nuclei_per_mm2 = 0;
  EXPECT_EQ(write_synth_slide(path, options).nuclei, 0);
  options.tissue_share = 0;
  EXPECT_EQ(write_synth_slide(path, options).tissue_share, 0.0);
}

TEST(SynthSlide, OpenSlideOpensItAsAperio) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "a.svs";
  SynthSlideOptions options = small();
  options.width = 1100;
  options.height = 1000;
  options.mpp = 0.25;
  write_synth_slide(path, options);
  MED3D_RUN_REFERENCE(found, "pyramid_tiff.py", path.string());
  EXPECT_NE(found.find("vendor aperio\nlevels 1100x1000 275x250\n"), std::string::npos) << found;
  EXPECT_NE(found.find("mpp-x 0.25\nopenslide.objective-power 40\n"), std::string::npos) << found;
}

TEST(SynthSlide, RefusesWhatIsOutOfRange) {
  const TemporaryFolder folder;
  const auto refuse = [&](auto change) {
    SynthSlideOptions options = small();
    change(options);
    EXPECT_THROW(write_synth_slide(folder.path() / "a.svs", options), Error);
  };
  refuse([](SynthSlideOptions& o) { o.width = 10; });
  refuse([](SynthSlideOptions& o) { o.height = 1 << 20; });
  refuse([](SynthSlideOptions& o) { o.mpp = 0; });
  refuse([](SynthSlideOptions& o) { o.nuclei_per_mm2 = 1e9; });
  refuse([](SynthSlideOptions& o) { o.threads = 0; });
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace med3d
