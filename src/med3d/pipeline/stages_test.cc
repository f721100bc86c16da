#include "med3d/pipeline/stages.h"

#include <set>

#include "med3d/pipeline/test_support.h"

namespace med3d::pipeline {
namespace {

using testing::expect_error;
using testing::TempFolder;

RunSettings with(const std::string& setting) { return RunSettings().with({setting}); }

// Which stages a change makes new.
std::set<std::string> changed_by(const std::string& setting) {
  const auto before = stage_keys(RunSettings());
  std::set<std::string> out;
  for (const auto& [stage, key] : stage_keys(with(setting))) {
    if (before.find(stage)->second != key) out.insert(stage);
  }
  return out;
}

TEST(Stages, StandInTheOrderInWhichTheyNeedEachOther) {
  std::set<std::string_view> above;
  for (const auto& stage : stages()) {
    for (const auto need : stage.needs) EXPECT_TRUE(above.contains(need)) << stage.name;
    above.insert(stage.name);
  }
  EXPECT_EQ(above.size(), 11U);
}

TEST(Stages, NameSettingsThatThereAre) {
  RunSettings settings;
  SettingsSchema schema;
  settings.describe(schema);
  std::set<std::string> known;
  for (const auto& field : schema.fields()) {
    known.insert(field.section);
    known.insert(field.section + "." + field.key);
  }
  std::set<std::string> used;
  for (const auto& stage : stages()) {
    for (const auto name : stage.settings) {
      EXPECT_TRUE(known.contains(std::string(name))) << stage.name << ": " << name;
      used.emplace(name);
    }
  }
  // And every setting decides something: one that no stage names would change nothing.
  const std::set<std::string> of_speed = {
      "run.threads", "slides.batch_size", "slides.readers", "slides.folder", "scans.folder"};
  for (const auto& field : schema.fields()) {
    const std::string key = field.section + "." + field.key;
    EXPECT_TRUE(used.contains(field.section) || used.contains(key) || of_speed.contains(key))
        << key;
  }
}

TEST(Stages, AreNewFromTheOneThatASettingConcerns) {
  EXPECT_EQ(changed_by("fusion.dropout=[0.1, 0.1]"),
            (std::set<std::string>{"fuse", "evaluate", "report"}));
  EXPECT_EQ(changed_by("validation.bootstrap=7"), (std::set<std::string>{"evaluate", "report"}));
  EXPECT_TRUE(changed_by("slides.patch_size=64").contains("tile"));
  EXPECT_FALSE(changed_by("slides.patch_size=64").contains("segment"));
  EXPECT_TRUE(changed_by("slides.batch_size=3").empty());
  EXPECT_TRUE(changed_by("run.threads=3").empty());
}

TEST(Stages, CountAFileByItsContent) {
  const TempFolder folder;
  const auto rules = folder.write("rules.toml", "a");
  RunSettings settings;
  settings.raw.scans.rules = rules;
  const auto before = stage_keys(settings);
  const auto moved = folder.write("same.toml", "a");
  settings.raw.scans.rules = moved;
  EXPECT_EQ(stage_keys(settings), before);
  settings.raw.scans.rules = folder.write("other.toml", "b");
  EXPECT_NE(stage_keys(settings), before);
}

TEST(Stages, AreChosenByRange) {
  const StageChoice range{"tile", "train", ""};
  std::vector<std::string> taken;
  for (const auto& stage : stages()) {
    if (range.takes(stage)) taken.emplace_back(stage.name);
  }
  EXPECT_EQ(taken, (std::vector<std::string>{"tile", "extract", "aggregate", "tabular", "train"}));
  EXPECT_TRUE((StageChoice{"", "", "fuse"}.takes(find_stage("fuse"))));
  EXPECT_FALSE((StageChoice{"", "", "fuse"}.takes(find_stage("train"))));
  expect_error(ErrorKind::kUsage, "no stage 'trian' (did you mean 'train'?)", [] {
    StageChoice{"trian", "", ""}.validate();
  });
  expect_error(ErrorKind::kUsage, "comes after", [] {
    StageChoice{"train", "tile", ""}.validate();
  });
  expect_error(ErrorKind::kUsage, "--only", [] { StageChoice{"", "train", "tile"}.validate(); });
}

}  // namespace
}  // namespace med3d::pipeline
