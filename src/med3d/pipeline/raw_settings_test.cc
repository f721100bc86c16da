#include "med3d/pipeline/raw_settings.h"

#include "med3d/pipeline/test_support.h"

namespace med3d::pipeline {
namespace {

using testing::expect_error;

RawSettings from(const std::string& text) {
  RawSettings settings;
  SettingsSchema schema;
  settings.describe(schema);
  read_settings_text(schema, text, "cohort.toml", "/data");
  return settings;
}

TEST(RawSettings, ReadsFoldersRelativeToTheFile) {
  const auto settings = from(
      "[slides]\nfolder = \"slides\"\nencoder = \"resnet50-untrained\"\npatch_size = 224\n"
      "[scans]\nfolder = \"dicom\"\nsize = [16, 64, 64]\n");
  settings.validate();
  EXPECT_EQ(settings.slides.folder, PathList{"/data/slides"});
  EXPECT_EQ(settings.slides.patch_size, 224);
  EXPECT_EQ(settings.scans.folder, "/data/dicom");
  EXPECT_EQ(settings.scans.size, (std::vector<int>{16, 64, 64}));
}

TEST(RawSettings, AsksForNothingWhereThereIsNoRawSection) {
  const auto settings = from("");
  settings.validate();
  EXPECT_FALSE(settings.used());
}

TEST(RawSettings, RefusesWhatWouldBePassedOverInSilence) {
  const auto refused = [](const std::string& text, const std::string& part) {
    expect_error(ErrorKind::kUsage, part, [&] { from(text).validate(); });
  };
  const std::string slides = "[slides]\nfolder = \"s\"\n";
  refused(slides, "[slides] encoder is missing");
  refused(slides + "encoder = \"resnet50\"", "encoder resnet50 needs weights");
  const std::string untrained = slides + "encoder = \"resnet50-untrained\"\n";
  refused(untrained + "weights = \"w\"", "encoder resnet50-untrained takes none");
  refused(untrained + "mag = 10", "[slides] mag: belongs to mode trident");
  refused(untrained + "mode = \"clam\"\ntarget_mpp = 1.0", "target_mpp: belongs to mode mpp");
  refused(untrained + "mode = \"trident\"\nstep_size = 8", "step_size: has no meaning");
  refused(untrained + "slide_pool = \"attention\"", "[slides] model is missing");
  refused(untrained + "mean = [1, 2, 3]", "mean: belongs to encoder torchscript");
  const std::string scans = "[scans]\nfolder = \"s\"\n";
  refused(scans + "size = [1, 2]", "[scans] size: 2 numbers");
  refused(scans + "filter = false\nrules = \"r.toml\"", "[scans] rules");
  refused(scans + "noise = true", "noise: belongs to recipe medicalnet");
  refused(scans + "pool = \"attention\"", "[scans] model is missing");
}

TEST(RawSettings, NamesNoFileWhereThePlacesAreTakenAway) {
  auto settings = from(
      "[slides]\nfolder = \"slides\"\nencoder = \"resnet50\"\nweights = \"w.pth\"\n"
      "[scans]\nfolder = \"dicom\"\nrules = \"r.toml\"\nspacing = [1, 1, 2]\n");
  RawSettings kept = settings.without_places();
  SettingsSchema schema;
  kept.describe(schema);
  const std::string text = settings_toml(schema, {}, true);
  EXPECT_EQ(text.find("/data"), std::string::npos) << text;
  EXPECT_EQ(kept.slides.encoder, "resnet50");
  EXPECT_EQ(kept.scans.spacing, settings.scans.spacing);
}

}  // namespace
}  // namespace med3d::pipeline
