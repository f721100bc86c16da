#include "med3d/pipeline/volumes/filter_series.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "med3d/core/progress.h"
#include "med3d/core/text.h"
#include "med3d/pipeline/test_support.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;
using testing::TempFolder;

SeriesVerdict judge(const std::string& modality, const std::string& description) {
  static const SeriesFilter filter(shipped_filter_rules());
  SeriesFacts facts;
  facts.modality = modality;
  facts.description = description;
  return filter.judge(facts);
}

// Each language's words for the same thing.
TEST(ShippedRules, KnowThePhasesInEightLanguages) {
  const std::map<std::string, std::vector<std::string>> words = {
      {"arterial",
       {"Arterial 5.0",
        "ArterialPhase CE",
        "art. Phase",
        "arterielle Phase",
        "phase artérielle",
        "fase arteriosa",
        "fase arterial",
        "arteriële fase",
        "Faza tetnicza 5.0 miekkie",
        "F.TETNICZA 5.0 B31s",
        "AX THK ART",
        "corticomedullary"}},
      {"venous",
       {"Venous Phase 5.0 B30f",
        "PORTAL",
        "portal-venous",
        "venöse Phase",
        "phase veineuse",
        "fase venosa",
        "fase portal",
        "veneuze fase",
        "FAZA ŻYLNA",
        "F. ZYLNA 1.5 I31s 3"}},
      {"nephrographic",
       {"Nephrographic 8060",
        "NEPHROGENIC",
        "nephrographische Phase",
        "phase néphrographique",
        "fase nefrografica",
        "nefrográfica",
        "nefrografische fase"}},
      {"delayed",
       {"DELAYED",
        "KIDNEYS  DELAY",
        "Spätphase",
        "phase tardive",
        "fase tardiva",
        "fase tardía",
        "fase tardia",
        "late fase",
        "OPOZNIONA 1.0 3D",
        "excretory"}},
      {"post-contrast",
       {"POST CONTRAST",
        "ABD C+",
        "mit KM",
        "après injection",
        "con mdc",
        "con contraste",
        "com contraste",
        "met contrast",
        "90 Sec 5.0 B40f",
        "8MIN AP 5.0 B31f",
        "100S KIDNEY",
        "KIDNEY W 3.0 B30f"}},
      {"pre-contrast",
       {"NATIVE",
        "non contrast",
        "AX THK NC",
        "ABD C- 5.0",
        "KIDNEYS I- 5.0 B30f",
        "ABD WO",
        "nativ",
        "ohne KM",
        "sans injection",
        "senza mdc",
        "sin contraste",
        "sem contraste",
        "zonder contrast",
        "bez kontrastu",
        "unenhanced",
        "PRE"}},
  };
  for (const auto& [rule, texts] : words) {
    for (const std::string& text : texts) {
      const auto verdict = judge("CT", text);
      EXPECT_EQ(verdict.rule, rule) << text << ": " << verdict.reason;
      EXPECT_EQ(verdict.kept, rule != "pre-contrast") << text;
    }
  }
}

TEST(ShippedRules, LeaveOutWhatIsNoDiagnosticVolume) {
  const std::map<std::string, std::vector<std::string>> words = {
      {"localizer",
       {"Scout",
        "LOCALIZER",
        "3-plane loc",
        "3PL KIDNEYS",
        "Topogramm 0.6 T20f",
        "Übersicht",
        "repérage",
        "localizzatore",
        "localizador",
        "overzicht",
        "Surview",
        "survey"}},
      {"bolus timing", {"Smart Prep Series", "Timing run", "Bolus tracking", "realtime"}},
      {"calibration", {"ASSET calibration", "Asset cal 1 ACQ ONLY", "Calibration scan BH"}},
      {"report", {"Dose Report", "Summary Series", "Patient Protocol"}},
      {"subtraction", {"SUBS11-S81", "VIBE SUB", "Subtraktion", "soustraction"}},
      {"projection or reformat", {"MIPSeries000810120844", "PJN", "MaximumIntensityProjection"}},
      {"map", {"Apparent Diffusion Coefficient mm2s", "ADC"}},
      {"coronal", {"T2 COR HASTE", "coronal T1 post", "T1 koronar KM", "coronale"}},
      {"sagittal", {"SAG T2", "sagittal post", "sagitale fase post"}},
  };
  for (const auto& [rule, texts] : words) {
    for (const std::string& text : texts) {
      const auto verdict = judge("MR", text);
      EXPECT_EQ(verdict.rule, rule) << text << ": " << verdict.reason;
      EXPECT_FALSE(verdict.kept) << text;
    }
  }
}

TEST(ShippedRules, KnowTheSequencesOfMr) {
  const std::map<std::string, std::vector<std::string>> words = {
      {"T1",
       {"Axial T1 post",
        "Ax spgr",
        "lava post",
        "VIBE T1 FS POST1",
        "IPOP",
        "ax inout phase",
        "AX FSPGR T1 DUALECHO",
        "T1 FLASH AX BH - IN  OUT ABD",
        "fse t1",
        "mDIXON",
        "eTHRIVE"}},
      {"T2", {"Axial T2 fat sat", "frfse t2", "AX SSFSE", "HASTE", "Axial Steady State", "BLADE"}},
      {"DWI", {"Axial diffusion 500", "Ax DWI B20800 BH", "ep2d_diff_b50_400", "difusión"}},
      {"FLAIR", {"AX FLAIR", "t2_flair_tra"}},
  };
  for (const auto& [rule, texts] : words) {
    for (const std::string& text : texts) {
      const auto verdict = judge("MR", text);
      EXPECT_EQ(verdict.rule, rule) << text << ": " << verdict.reason;
      EXPECT_TRUE(verdict.kept) << text;
    }
  }
}

TEST(ShippedRules, TakeNoThicknessOrKernelForATime) {
  for (const char* text : {"HELICAL 5s",
                           "5S AXIAL SOFT",
                           "AbdPelvis 5.0 B31f",
                           "2.5 standard",
                           "x B30s",
                           "0.625s Axial",
                           "1.25s"}) {
    EXPECT_EQ(judge("CT", text).rule, "contrast-unknown") << text << judge("CT", text).reason;
  }
}

TEST(ShippedRules, DropDerivedAndSecondaryImagesByTheirTags) {
  const SeriesFilter filter(shipped_filter_rules());
  SeriesFacts facts;
  facts.modality = "CT";
  facts.description = "arterial";
  facts.image_type = "DERIVED\\SECONDARY\\AXIAL";
  EXPECT_EQ(filter.judge(facts).rule, "derived image");
  facts.image_type = "DERIVED\\PRIMARY\\AXIAL";
  EXPECT_TRUE(filter.judge(facts).kept) << "compression and anonymising write that";
  facts.sop_class = "1.2.840.10008.5.1.4.1.1.7";
  EXPECT_EQ(filter.judge(facts).rule, "secondary capture");
  facts.sop_class = "1.2.840.10008.5.1.4.1.1.2";
  EXPECT_TRUE(filter.judge(facts).kept);
  facts.image_type = "ORIGINAL\\PRIMARY\\LOCALIZER";
  EXPECT_EQ(filter.judge(facts).rule, "localizer");
}

std::string rules_error(const std::string& toml) {
  try {
    read_filter_rules(toml, "rules.toml");
  } catch (const Error& error) {
    return error.what();
  }
  return "read";
}

TEST(FilterRules, AreRefusedWithTheirLine) {
  const std::string ct = "[modality.CT]\nleast_slices = 10\n";
  EXPECT_EQ(rules_error(ct), "read");
  EXPECT_EQ(rules_error("planes = ['axial']\n"),
            "rules.toml:1: no [modality.CT] or [modality.MR]: nothing would be kept");
  EXPECT_EQ(rules_error(ct + "least_slice = 3\n"),
            "rules.toml:3: unknown key 'least_slice' (did you mean 'least_slices'?)");
  EXPECT_EQ(rules_error("planes = ['axiel']\n" + ct),
            "rules.toml:1: plane 'axiel', expected axial, coronal, sagittal or oblique");
  EXPECT_EQ(rules_error("[modality.CT]\nleast_slices = -1\n"),
            "rules.toml:2: least_slices: expected a whole number from 0 to 100000");
  EXPECT_EQ(rules_error("[modality.CT]\ncontrast = 1\n"),
            "rules.toml:2: contrast: expected true or false");
  const auto rule = [&](const std::string& lines) {
    return rules_error(ct + "[[exclude]]\nrule = 'a'\n" + lines);
  };
  EXPECT_EQ(rule("fields = ['description']\nwords = ['x']\n"), "read");
  EXPECT_EQ(rule("fields = ['descripton']\nwords = ['x']\n"),
            "rules.toml:5: field 'descripton', expected one of: description, protocol, image_type, "
            "sop_class, body_part, sequence, contrast_agent");
  EXPECT_EQ(rule("fields = ['description']\nwords = 'x'\n"),
            "rules.toml:6: expected a list of texts");
  EXPECT_EQ(rule("fields = ['description']\nwords = [1]\n"), "rules.toml:6: expected a text");
  EXPECT_EQ(rule("fields = ['description']\nwords = ['x']\nmeans = 'after'\n"),
            "rules.toml:7: 'means' belongs to [[phase]] only");
  EXPECT_NE(rule("fields = ['description']\npatterns = ['(']\n").find("pattern '('"),
            std::string::npos);
  EXPECT_NE(rules_error("not toml").find("rules.toml:1:"), std::string::npos);
}

SeriesRecord record(std::string patient,
                    std::string collection,
                    std::string modality,
                    std::string words) {
  SeriesRecord out;
  out.patient = std::move(patient);
  out.collection = std::move(collection);
  out.modality = out.facts.modality = std::move(modality);
  out.facts.description = std::move(words);
  return out;
}

// Three of four series kept, of two patients: 75 %, 1.5 series each.
TEST(FilterSummary, CountsAsThePapersTable) {
  const std::vector<SeriesRecord> series = {record("a", "TCGA", "CT", "arterial"),
                                            record("a", "TCGA", "CT", "native"),
                                            record("b", "TCGA", "MR", "Axial T2"),
                                            record("b", "TCGA", "MR", "Axial T1"),
                                            record("c", "CPTAC", "CT", "scout")};
  const auto summary = summarise_filter(filter_series(series, shipped_filter_rules()));
  ASSERT_EQ(summary.size(), 3U);
  EXPECT_EQ(summary[0].collection, "CPTAC");
  EXPECT_EQ(summary[0].kept, 0);
  EXPECT_EQ(summary[0].percent_kept(), 0.0);
  EXPECT_EQ(summary[0].series_per_patient(), 0.0);
  EXPECT_EQ(summary[1].original, 4);
  EXPECT_EQ(summary[1].kept, 3);
  EXPECT_EQ(summary[1].percent_kept(), 75.0);
  EXPECT_EQ(summary[1].patients, 2);
  EXPECT_EQ(summary[1].series_per_patient(), 1.5);
  EXPECT_EQ(summary[1].kept_by_modality.at("MR"), 2);
  EXPECT_EQ(summary[2].collection, "all");
  EXPECT_EQ(summary[2].original, 5);
  const std::string csv = summary_csv(summary);
  EXPECT_NE(csv.find("percentage kept,0,75,60\n"), std::string::npos) << csv;
}

TEST(SeriesTable, ReadsDescriptionsAndHidesNumbers) {
  const TempFolder temp;
  const auto path = temp.write("t.csv",
                               "PatientID,modality,SeriesDescription,plane,slices\n"
                               "4711,MRI,NA,axial,20\n"
                               "C3L-00610,CT,AXIAL,,\n");
  const auto series = read_series_table(path);
  ASSERT_EQ(series.size(), 2U);
  EXPECT_TRUE(series[0].patient.starts_with("p-"));
  EXPECT_EQ(series[0].modality, "MR");
  EXPECT_EQ(series[0].facts.description, "");
  EXPECT_EQ(series[0].facts.plane, Plane::kAxial);
  EXPECT_EQ(series[0].facts.slices, 20);
  EXPECT_EQ(series[1].patient, "C3L-00610");
  EXPECT_FALSE(series[1].facts.slices.has_value());
  EXPECT_THROW(read_series_table(temp.write("u.csv", "modality,x\nCT,1\n")), Error);
  EXPECT_THROW(
      read_series_table(temp.write("v.csv", "modality,SeriesDescription,slices\nCT,a,many\n")),
      Error);
}

TEST(FilterVolumes, WritesTheSameTablesTwice) {
  const TempFolder temp;
  const auto table = temp.write("t.csv",
                                "case_id,modality,SeriesDescription\n"
                                "C3L-00610,CT,arterial Smith\nC3L-00610,CT,scout Smith\n");
  const auto run = [&](const fs::path& output) {
    VolumeFilterOptions options;
    options.table = table;
    options.output = output;
    filter_volumes(options, silent_progress());
    std::string all;
    for (const char* name : {"series.csv", "summary.csv", "rules.csv", "rules.toml"}) {
      all += read_file(output / name, 1 << 20);
    }
    return all;
  };
  const std::string first = run(temp.path() / "a");
  EXPECT_EQ(first, run(temp.path() / "b"));
  EXPECT_EQ(first.find("Smith"), std::string::npos);
  EXPECT_NE(first.find(shipped_filter_rules_toml()), std::string::npos);
  EXPECT_THROW(filter_volumes({}, silent_progress()), Error);
}

// The series that the authors of MMIST-ccRCC kept; most of what we drop is silent about contrast.
TEST(ShippedRules, KeepMostOfWhatMmistKept) {
  const char* data = std::getenv("MED3D_TEST_DATA");
  const char* source = std::getenv("MED3D_SOURCE_DIR");
  const fs::path table =
      (data != nullptr ? fs::path(data)
                       : fs::path(source != nullptr ? source : ".") / "../shared/data") /
      "mmist-ccrcc/mmist_kept_series.csv";
  if (!fs::exists(table)) GTEST_SKIP() << "MMIST NOT FOUND: " << table << " (set MED3D_TEST_DATA)";
  const auto filtered = filter_series(read_series_table(table), shipped_filter_rules());
  ASSERT_EQ(filtered.size(), 1258U);
  std::map<std::string, std::pair<int, int>> kept;
  for (const FilteredSeries& one : filtered) {
    ++kept[one.series.modality].second;
    if (one.kept) ++kept[one.series.modality].first;
    EXPECT_FALSE(one.reason.empty());
  }
  EXPECT_EQ(kept["CT"].second, 736);
  EXPECT_GT(kept["CT"].first, 350);
  EXPECT_GT(kept["MR"].first, 380);
}

}  // namespace
}  // namespace med3d::pipeline
