#include "med3d/pipeline/settings.h"

#include <gtest/gtest.h>

#include "med3d/core/error.h"
#include "med3d/pipeline/cohort_settings.h"

namespace med3d::pipeline {
namespace {

struct Sample {
  bool on = false;
  int count = 3;
  std::uint64_t seed = 7;
  double rate = 0.5;
  std::string mode = "mean";
  std::filesystem::path table;
  StringList names;
  std::vector<int> sizes = {256, 128};
  std::vector<double> grid;
  PathList joins;
  StringListMap ordinal;
  double dropout = 0.3;

  void describe(SettingsSchema& schema) {
    schema.section("main", "Everything.");
    schema.field("on", on, "A switch.");
    schema.field("count", count, "A count.", in_range(1, 10));
    schema.field("seed", seed, "A seed.");
    schema.field("rate", rate, "A rate.", in_range(0, 1));
    schema.field("mode", mode, "A mode.", one_of({"mean", "attention"}));
    schema.field("table", table, "A table.");
    schema.field("names", names, "Names.");
    schema.field("sizes", sizes, "Sizes.", at_least(1));
    schema.field("grid", grid, "A grid.");
    schema.field("joins", joins, "More tables.");
    schema.field("ordinal", ordinal, "Orders.");
    schema.section("arms.mlp", "One arm.");
    schema.field("dropout", dropout, "Share dropped.", in_range(0, 0.95));
  }
};

struct Read {
  Sample sample;
  SettingsSchema schema;
  explicit Read(const std::string& text, const StringList& overrides = {}) {
    sample.describe(schema);
    read_settings_text(schema, text, "run.toml", "data", overrides);
  }
  Read(const Read&) = delete;
};

std::string error_of(const std::string& text, const StringList& overrides = {}) {
  try {
    Read read(text, overrides);
  } catch (const Error& error) {
    return to_string(error.kind()) + ": " + error.what();
  }
  return "no error";
}

TEST(Settings, ReadsEveryType) {
  const Read read(R"([main]
on = true
count = 4
seed = 123456789012
rate = 1
mode = "attention"
table = "tables/a.csv"
names = ["a", "b"]
sizes = 64
grid = [0.1, 2]
joins = ["x.csv", "/abs/y.csv"]
ordinal = { stage = ["I", "II"], grade = ["1"] }
[arms.mlp]
dropout = 0.25
)");
  const Sample& s = read.sample;
  EXPECT_TRUE(s.on);
  EXPECT_EQ(s.count, 4);
  EXPECT_EQ(s.seed, 123456789012U);
  EXPECT_EQ(s.rate, 1.0);
  EXPECT_EQ(s.mode, "attention");
  EXPECT_EQ(s.table, "data/tables/a.csv");
  EXPECT_EQ(s.names, (StringList{"a", "b"}));
  EXPECT_EQ(s.sizes, std::vector<int>{64});
  EXPECT_EQ(s.grid, (std::vector<double>{0.1, 2.0}));
  EXPECT_EQ(s.joins, (PathList{"data/x.csv", "/abs/y.csv"}));
  EXPECT_EQ(s.ordinal.at("stage"), (StringList{"I", "II"}));
  EXPECT_EQ(s.dropout, 0.25);
}

TEST(Settings, ReadsAMapWrittenAsItsOwnTable) {
  const Read read("[main.ordinal]\nstage = [\"I\", \"II\"]\n");
  EXPECT_EQ(read.sample.ordinal.at("stage").size(), 2U);
}

TEST(Settings, PutsOverridesAboveTheFileAndSaysWhereEachValueIsFrom) {
  const Read read("[main]\ncount = 4\nrate = 0.1\n",
                  {"main.count=5",
                   "main.names=a, b",
                   "main.table=here.csv",
                   "arms.mlp.dropout=0.1",
                   "main.grid=[1, 2.5]",
                   "main.mode=attention"});
  EXPECT_EQ(read.sample.count, 5);
  EXPECT_EQ(read.sample.names, (StringList{"a", "b"}));
  EXPECT_EQ(read.sample.table, "here.csv");  // relative to the current folder, not to the file's
  EXPECT_EQ(read.sample.dropout, 0.1);
  EXPECT_EQ(read.sample.grid, (std::vector<double>{1.0, 2.5}));
  EXPECT_EQ(read.sample.mode, "attention");
  const Json json = settings_json(read.schema, "data");
  EXPECT_EQ(json["main"]["count"]["origin"], "--set");
  EXPECT_EQ(json["main"]["rate"]["origin"], "file");
  EXPECT_EQ(json["main"]["seed"]["origin"], "default");
  EXPECT_EQ(json["main"]["count"]["value"], 5);
}

TEST(Settings, NamesAnUnknownKeyItsLineAndTheNearestOne) {
  EXPECT_EQ(error_of("[main]\non = true\ntabel = \"a\"\n"),
            "usage: run.toml:3: [main] unknown key 'tabel' (did you mean 'table'?)");
  EXPECT_EQ(error_of("[main]\ndropout = 0.1\n"),
            "usage: run.toml:2: [main] unknown key 'dropout' (it belongs to [arms.mlp])");
  EXPECT_NE(error_of("[main]\nzzzzzzzzzz = 1\n").find("(known keys: on, count"), std::string::npos);
}

TEST(Settings, NamesAnUnknownSection) {
  EXPECT_EQ(error_of("[mian]\non = true\n"),
            "usage: run.toml:1: unknown section [mian] (did you mean 'main'?)");
  EXPECT_EQ(error_of("[arms.gbm]\nx = 1\n").substr(0, 44),
            "usage: run.toml:1: unknown section [arms.gbm");
  EXPECT_EQ(error_of("count = 1\n"),
            "usage: run.toml:1: key 'count' stands outside any section (it belongs to [main])");
  EXPECT_EQ(error_of("main = 1\n"),
            "usage: run.toml:1: [main] is the whole number 1, expected a section");
}

TEST(Settings, RefusesAWrongType) {
  EXPECT_EQ(error_of("[main]\ncount = \"4\"\n"),
            "usage: run.toml:2: [main] count is the text \"4\", expected whole number");
  EXPECT_EQ(error_of("[main]\non = 1\n"),
            "usage: run.toml:2: [main] on is the whole number 1, expected true or false");
  EXPECT_EQ(error_of("[main]\nrate = true\n"),
            "usage: run.toml:2: [main] rate is true, expected number");
  EXPECT_EQ(
      error_of("[main]\nseed = -1\n"),
      "usage: run.toml:2: [main] seed is the whole number -1, expected whole number, 0 or more");
  EXPECT_EQ(error_of("[main]\ncount = 2.5\n"),
            "usage: run.toml:2: [main] count is the number 2.5, expected whole number");
  EXPECT_EQ(error_of("[main]\nnames = [\"a\", 2]\n"),
            "usage: run.toml:2: [main] names is the whole number 2, expected list of texts");
  EXPECT_EQ(error_of("[main]\nordinal = [\"a\"]\n"),
            "usage: run.toml:2: [main] ordinal is a list, expected table of lists of texts");
  EXPECT_EQ(error_of("[main]\ncount = 99999999999\n"),
            "usage: run.toml:2: [main] count is 99999999999, which does not fit in 32 bits");
}

TEST(Settings, RefusesAValueOutOfRange) {
  EXPECT_EQ(error_of("[main]\ncount = 11\n"),
            "usage: run.toml:2: [main] count is 11, expected 1 to 10");
  EXPECT_EQ(error_of("[main]\nsizes = [64, 0]\n"),
            "usage: run.toml:2: [main] sizes is 0, expected 1 or more");
  EXPECT_EQ(error_of("[main]\nrate = nan\n"),
            "usage: run.toml:2: [main] rate is nan, expected finite");
  EXPECT_EQ(
      error_of("[main]\nmode = \"men\"\n"),
      "usage: run.toml:2: [main] mode is \"men\", expected one of mean, attention (did you mean "
      "'mean'?)");
}

TEST(Settings, RefusesABadOverride) {
  EXPECT_EQ(error_of("", {"count"}), "usage: --set count: expected section.key=value");
  EXPECT_EQ(error_of("", {"main.cuont=1"}),
            "usage: --set main.cuont=1: [main] unknown key 'cuont' (did you mean 'count'?)");
  EXPECT_EQ(error_of("", {"mane.count=1"}),
            "usage: --set mane.count=1: unknown section [mane] (did you mean 'main'?)");
  EXPECT_EQ(error_of("", {"main.count=many"}),
            "usage: --set main.count=many: expected whole number");
  EXPECT_EQ(error_of("", {"main.count=20"}),
            "usage: --set main.count=20: [main] count is 20, expected 1 to 10");
  // A second line must not smuggle another key in.
  EXPECT_EQ(error_of("", {"main.count=2\nx = 3"}),
            "usage: --set main.count=2\nx = 3: expected one value");
}

TEST(Settings, RefusesWhatIsNotToml) {
  EXPECT_EQ(error_of("[main\non = true\n").substr(0, 17), "format: run.toml:");
  EXPECT_EQ(error_of("[main]\non = true\non = false\n").substr(0, 18), "format: run.toml:3");
}

TEST(Settings, SaysWhichRequiredKeyIsMissing) {
  std::string name;
  SettingsSchema schema;
  schema.section("endpoint", "What.");
  schema.field("name", name, "Name of the endpoint.", required());
  try {
    read_settings_text(schema, "", "c.toml", "", {});
    FAIL() << "a required key was not missed";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "c.toml: [endpoint] name is missing: Name of the endpoint.");
  }
}

TEST(Settings, RefusesAKeyDescribedTwice) {
  int a = 0, b = 0;
  SettingsSchema schema;
  EXPECT_THROW(schema.field("a", a, ""), Error);
  schema.section("s", "");
  schema.field("a", a, "");
  EXPECT_THROW(schema.field("a", b, ""), Error);
  EXPECT_THROW(schema.section("s", ""), Error);
}

TEST(Settings, WritesTomlThatReadsBackTheSame) {
  Read first(
      "[main]\non = true\ntable = \"t/a.csv\"\nnames = [\"q\\\"\\\\\", \"\\n\\u0001\"]\n"
      "ordinal = { \"a b\" = [\"x\"] }\nrate = 1e-9\n");
  const std::string text = settings_toml(first.schema, "data");
  const Read second(text);
  EXPECT_EQ(second.sample.table, first.sample.table);
  EXPECT_EQ(second.sample.names, first.sample.names);
  EXPECT_EQ(second.sample.ordinal, first.sample.ordinal);
  EXPECT_EQ(second.sample.rate, first.sample.rate);
  EXPECT_EQ(settings_toml(second.schema, "data"), text);
  EXPECT_EQ(text.find("count"), std::string::npos);  // at its default
  const std::string all = settings_toml(first.schema, "data", true);
  EXPECT_NE(all.find("count = 3\n"), std::string::npos);
  EXPECT_EQ(Read(all).sample.names, first.sample.names);
}

TEST(Settings, DocumentsEveryKey) {
  Sample sample;
  SettingsSchema schema;
  sample.describe(schema);
  const std::string text = settings_markdown(schema);
  for (const auto& field : schema.fields()) {
    EXPECT_NE(text.find("| `" + field.key + "` |"), std::string::npos) << field.key;
  }
  EXPECT_NE(text.find("| `mode` | text: mean, attention | `\"mean\"` | A mode. |"),
            std::string::npos);
  EXPECT_NE(text.find("## [arms.mlp]"), std::string::npos);
}

// ---- Cohort sections ----

CohortSettings valid() {
  CohortSettings settings;
  settings.endpoint.name = "PFI";
  settings.endpoint.column = "pfi_label";
  settings.endpoint.positive_class = "1";
  settings.clinical.table = "t.csv";
  return settings;
}

std::string refusal(const CohortSettings& settings) {
  try {
    settings.validate();
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

TEST(CohortSettings, AcceptsACompleteEndpoint) { EXPECT_EQ(refusal(valid()), "accepted"); }

TEST(CohortSettings, RefusesAnIncompleteEndpoint) {
  auto settings = valid();
  settings.endpoint.positive_class.clear();
  EXPECT_NE(refusal(settings).find("positive_class is missing"), std::string::npos);
  settings = valid();
  settings.endpoint.column.clear();
  EXPECT_NE(refusal(settings).find("gives no label"), std::string::npos);
  settings = valid();
  settings.endpoint.time_column = "PFI.time";
  EXPECT_NE(refusal(settings).find("event_column is missing"), std::string::npos);
  settings.endpoint.event_column = "PFI";
  EXPECT_NE(refusal(settings).find("time_unit is missing"), std::string::npos);
  settings.endpoint.time_unit = "days";
  EXPECT_EQ(refusal(settings), "accepted");
}

TEST(CohortSettings, NeverCallsVitalStatusRecurrence) {
  auto settings = valid();
  settings.endpoint.name = "recurrence";
  settings.endpoint.column = "vital_status_12";
  EXPECT_EQ(
      refusal(settings),
      "[endpoint] says 'recurrence', but column 'vital_status_12' is vital status: death is not "
      "recurrence");
  settings.endpoint.name = "vital_status_12";
  EXPECT_EQ(refusal(settings), "accepted");
  settings.endpoint.description = "Recurrence within a year";
  EXPECT_NE(refusal(settings), "accepted");
  settings.endpoint.description.clear();
  settings.endpoint.positive_label = "relapsed";
  EXPECT_NE(refusal(settings), "accepted");
  settings.endpoint.positive_label.clear();
  settings.endpoint.name = "DFS";
  EXPECT_NE(refusal(settings).find("is a recurrence endpoint"), std::string::npos);
  // The same through time and event.
  settings = valid();
  settings.endpoint.name = "RFS";
  settings.endpoint.column.clear();
  settings.endpoint.time_column = "OS.time";
  settings.endpoint.event_column = "OS";
  settings.endpoint.time_unit = "days";
  settings.endpoint.horizon_months = 24;
  EXPECT_NE(refusal(settings), "accepted");
  settings.endpoint.name = "OS";
  EXPECT_EQ(refusal(settings), "accepted");
}

TEST(CohortSettings, KnowsRecurrenceEndpointsByTheirNames) {
  for (const char* name : {"DFI", "RFS", "pfi", "DFS_24m", "PFI at 2 years"}) {
    EXPECT_TRUE(is_recurrence_endpoint(name)) << name;
  }
  for (const char* name : {"OS", "DSS", "vital_status_12", "recurrence", "PFS", "adfix"}) {
    EXPECT_FALSE(is_recurrence_endpoint(name)) << name;
  }
}

TEST(CohortSettings, KnowsColumnsThatGiveTheAnswerAway) {
  for (const char* name : {"OS",
                           "OS.time",
                           "OS_days",
                           "DSS",
                           "vital_status_12",
                           "Overall Survival Status",
                           "death_days_to",
                           "survival_months"}) {
    EXPECT_TRUE(is_vital_column(name)) << name;
  }
  EXPECT_FALSE(is_vital_column("Disease Free Survival"));
  for (const char* name : {"Disease Free Status",
                           "PFI.time",
                           "tumor_status",
                           "new_tumor_event_type",
                           "last_contact_days_to",
                           "censorship",
                           "days_to_last_follow_up",
                           "Person Neoplasm Status",
                           "DFS_MONTHS"}) {
    EXPECT_TRUE(looks_like_outcome(name)) << name;
  }
  for (const char* name : {"grade",
                           "age_diag",
                           "cancer_history",
                           "ajcc_path_tumor_stage",
                           "site",
                           "VHL_mutation",
                           "Performance Status",
                           "ROS1_rnaseq",
                           "histological_type"}) {
    EXPECT_FALSE(looks_like_outcome(name)) << name;
  }
}

TEST(CohortSettings, RefusesWhatContradictsItself) {
  auto settings = valid();
  settings.split.test = {"train"};
  EXPECT_NE(refusal(settings).find("means both training and test"), std::string::npos);
  settings = valid();
  settings.wsi.case_from = "map";
  EXPECT_NE(refusal(settings).find("needs a map file"), std::string::npos);
}

TEST(CohortSettings, WritesTomlThatReadsBackTheSame) {
  auto settings = valid();
  settings.clinical.table = "data/t.csv";
  settings.ct.features = {"data/ct"};
  settings.wsi.slide_kinds = {"DX", "TS"};
  settings.clinical.ordinal = {{"stage", {"I", "II"}}};
  settings.endpoint.reversed_censoring = true;
  const std::string text = to_toml(settings, "data");
  EXPECT_NE(text.find("table = \"t.csv\""), std::string::npos);
  CohortSettings back;
  SettingsSchema schema;
  back.describe(schema);
  read_settings_text(schema, text, "cohort.toml", "data", {});
  EXPECT_EQ(to_toml(back, "data"), text);
  EXPECT_EQ(back.ct.features, settings.ct.features);
  EXPECT_EQ(back.wsi.slide_kinds, settings.wsi.slide_kinds);
}

TEST(CohortSettings, RefusesAnUnknownSlideKind) {
  CohortSettings settings;
  SettingsSchema schema;
  settings.describe(schema);
  try {
    read_settings_text(schema, "[wsi]\nslide_kinds = [\"FFPE\"]\n", "c.toml", "", {});
    FAIL() << "an unknown slide kind was taken";
  } catch (const Error& error) {
    EXPECT_STREQ(
        error.what(),
        "c.toml:2: [wsi] slide_kinds is \"FFPE\", expected one of DX, TS, BS, MS, unknown");
  }
}

TEST(CohortSettings, FindsNothingInAnUnknownFolder) {
  EXPECT_THROW(describe_folder("no-such-folder-here"), Error);
}

}  // namespace
}  // namespace med3d::pipeline
