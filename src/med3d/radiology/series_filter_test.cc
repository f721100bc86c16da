#include "med3d/radiology/series_filter.h"

#include <gtest/gtest.h>

#include "med3d/radiology/test_support.inc"

namespace med3d {
namespace {

FilterRule rule(std::string name,
                std::vector<std::string> words,
                ContrastMeaning meaning = ContrastMeaning::kAfter,
                std::vector<SeriesField> fields = {SeriesField::kDescription}) {
  FilterRule out;
  out.rule = std::move(name);
  out.words = std::move(words);
  out.fields = std::move(fields);
  out.meaning = meaning;
  return out;
}

// Small rules of the same shape as the shipped ones.
FilterRules rules() {
  FilterRules out;
  out.modalities["CT"] = {10, true, false};
  out.modalities["MR"] = {5, false, true};
  out.planes = {Plane::kAxial};
  out.exclude = {rule("localizer", {"scout*"}),
                 rule("derived image", {"MPR"}, {}, {SeriesField::kImageType})};
  out.plane = {rule("coronal", {"cor"})};
  out.phase = {rule("both", {"w wo"}, ContrastMeaning::kBoth),
               rule("pre-contrast", {"pre contrast", "native", "c-"}, ContrastMeaning::kBefore),
               rule("arterial", {"arterial"}),
               rule("post-contrast", {"post"})};
  out.no_agent = {rule("no agent", {"none"}, {}, {SeriesField::kAgent})};
  out.sequence = {rule("T1", {"t1*"})};
  return out;
}

SeriesFacts ct(const std::string& description) {
  SeriesFacts facts;
  facts.modality = "CT";
  facts.description = description;
  facts.plane = Plane::kAxial;
  facts.slices = 40;
  return facts;
}

SeriesVerdict judge(const SeriesFacts& facts) { return SeriesFilter(rules()).judge(facts); }

TEST(Folded, IsLowerCaseWithoutAccentsAndParted) {
  EXPECT_EQ(folded("KM-Phase ven\xC3\xB6s_2"), "km-phase venos 2");
  EXPECT_EQ(folded("ArterialPhase CE"), "arterial phase ce");
  EXPECT_EQ(folded("FAZA T\xC4\x98TNICZA"), "faza tetnicza");  // Polish, U+0118
  EXPECT_EQ(folded("fran\xC3\xA7"
                   "ais stra\xC3\x9F"
                   "e"),
            "francais strasse");
  EXPECT_EQ(folded("  a//b  "), "a b");
  EXPECT_EQ(folded("Abd. 2.5mm .5"), "abd 2.5mm 5");
  EXPECT_EQ(folded(""), "");
}

TEST(SeriesFilter, KeepsAPhaseAfterContrastWithItsWord) {
  const auto verdict = judge(ct("Arterial 5.0"));
  EXPECT_TRUE(verdict.kept);
  EXPECT_EQ(verdict.rule, "arterial");
  EXPECT_EQ(verdict.reason, "arterial: \"arterial\" in SeriesDescription");
}

TEST(SeriesFilter, AWordStandsAloneAndAStarStandsForLetters) {
  EXPECT_FALSE(judge(ct("subarterialis")).kept);
  EXPECT_TRUE(judge(ct("x_ARTERIAL-1")).kept);
  EXPECT_EQ(judge(ct("scouts post")).rule, "localizer");
  EXPECT_TRUE(judge(ct("ascout post")).kept) << "a star at the end only";
}

TEST(SeriesFilter, ASpaceOfAWordMatchesAHyphenOrNothing) {
  for (const char* text : {"pre contrast", "PRE-CONTRAST", "precontrast", "PreContrast"}) {
    EXPECT_EQ(judge(ct(text)).rule, "pre-contrast") << text;
  }
}

TEST(SeriesFilter, DropsModalitiesThatHaveNoRules) {
  SeriesFacts facts = ct("arterial");
  facts.modality = "SR";
  EXPECT_EQ(judge(facts).reason, "modality SR");
  facts.modality = "";
  EXPECT_EQ(judge(facts).reason, "no modality");
}

TEST(SeriesFilter, GeometryOverrulesTheWordsOfThePlane) {
  SeriesFacts facts = ct("COR arterial");
  EXPECT_TRUE(judge(facts).kept) << "axial by ImageOrientationPatient";
  facts.plane = std::nullopt;
  EXPECT_EQ(judge(facts).reason, "coronal: \"cor\" in SeriesDescription");
  facts = ct("axial arterial");
  facts.plane = Plane::kSagittal;
  EXPECT_EQ(judge(facts).reason, "sagittal by ImageOrientationPatient");
  facts.plane = std::nullopt;
  facts.several_orientations = true;
  EXPECT_EQ(judge(facts).rule, "plane");
}

TEST(SeriesFilter, DropsTooFewSlicesOnlyWhereTheirNumberIsKnown) {
  SeriesFacts facts = ct("arterial");
  facts.slices = 9;
  EXPECT_EQ(judge(facts).reason, "9 slices, expected at least 10");
  facts.slices = 10;
  EXPECT_TRUE(judge(facts).kept);
  facts.slices = std::nullopt;
  EXPECT_TRUE(judge(facts).kept);
}

TEST(SeriesFilter, TheTimeOfInjectionOverrulesTheDescription) {
  SeriesFacts facts = ct("native");
  facts.contrast_agent = "OMNIPAQUE";
  EXPECT_FALSE(judge(facts).kept) << "the tag is of the whole protocol";
  facts.contrast_delay_s = 40.0;
  EXPECT_TRUE(judge(facts).kept);
  EXPECT_EQ(judge(facts).reason,
            "acquired 40 s after the injection began, which overrules \"native\" in "
            "SeriesDescription");
  facts = ct("arterial");
  facts.contrast_delay_s = -60.0;
  EXPECT_EQ(judge(facts).reason, "acquired 60 s before the injection began");
  facts.contrast_delay_s = -4.0;
  EXPECT_TRUE(judge(facts).kept) << "within the slack of the clocks";
}

TEST(SeriesFilter, TheAgentSpeaksWhereTheDescriptionIsSilent) {
  SeriesFacts facts = ct("5.0 B30f");
  EXPECT_EQ(judge(facts).reason, "nothing says that contrast was given");
  facts.contrast_agent = "Omnipaque 350";
  EXPECT_EQ(judge(facts).reason, "post-contrast: ContrastBolusAgent is given");
  facts.contrast_agent = "NONE";
  EXPECT_FALSE(judge(facts).kept);
}

TEST(SeriesFilter, TheStudySpeaksLastAndNotOfBoth) {
  SeriesFacts facts = ct("5.0 B30f");
  facts.study_description = "CT ABDOMEN post";
  EXPECT_TRUE(judge(facts).kept);
  facts.study_description = "CT ABDOMEN W/WO post";
  EXPECT_EQ(judge(facts).rule, "contrast-unknown");
  facts.study_description = "CT native";
  EXPECT_EQ(judge(facts).reason,
            "pre-contrast: \"native\" in StudyDescription, and the series says nothing else");
}

TEST(SeriesFilter, MrNeedsASequenceOrAPhaseAfterContrast) {
  SeriesFacts facts = ct("T1 fs");
  facts.modality = "MR";
  EXPECT_EQ(judge(facts).rule, "T1");
  facts.description = "T1 pre contrast";
  EXPECT_EQ(judge(facts).rule, "pre-contrast");
  facts.description = "obl 3D post";
  EXPECT_EQ(judge(facts).rule, "post-contrast");
  facts.description = "something";
  EXPECT_EQ(judge(facts).rule, "sequence");
  facts.echo_time_ms = 90;
  EXPECT_EQ(judge(facts).reason, "T2 by EchoTime 90 ms");
  facts.inversion_time_ms = 2000;
  EXPECT_EQ(judge(facts).rule, "FLAIR");
  facts = ct("something");
  facts.modality = "MR";
  facts.echo_time_ms = 2.1;
  facts.repetition_time_ms = 4.5;
  EXPECT_EQ(judge(facts).reason, "T1 by EchoTime 2.1 and RepetitionTime 4 ms");  // 4.5 to even
  facts.b_value = 500;
  EXPECT_EQ(judge(facts).rule, "DWI");
}

TEST(SeriesFilter, WhatIsIgnoredIsNoPhase) {
  FilterRules all = rules();
  all.ignore = {rule("not of contrast", {"post nephr*"})};
  const SeriesFilter filter(all);
  EXPECT_FALSE(filter.judge(ct("Post-Nephrectomy 5.0")).kept);
  EXPECT_TRUE(filter.judge(ct("Post-Nephrectomy POST")).kept);
  SeriesFacts facts = ct("5.0");
  facts.study_description = "CT POST NEPHRECTOMY";
  EXPECT_EQ(filter.judge(facts).rule, "contrast-unknown");
}

TEST(SeriesFilter, AReasonShowsTheRulesWordAndNotTheSeries) {
  SeriesFacts facts = ct("scoutCanaryName arterial");
  facts.description = "scoutcanaryname";
  EXPECT_EQ(judge(facts).reason, "localizer: \"scout*\" in SeriesDescription");
}

TEST(SeriesFilter, CodesAreComparedAsTheyStand) {
  SeriesFacts facts = ct("arterial");
  facts.image_type = "DERIVED\\PRIMARY\\MPR";
  EXPECT_EQ(judge(facts).rule, "derived image");
  facts.image_type = "DERIVED\\PRIMARY\\MPRX";
  EXPECT_TRUE(judge(facts).kept);
}

TEST(SeriesFilter, RefusesRulesThatCannotWork) {
  const auto refused = [](FilterRule one, const std::string& part) {
    FilterRules all = rules();
    all.exclude = {std::move(one)};
    expect_error(ErrorKind::kUsage, part, [&] { SeriesFilter{all}; });
  };
  FilterRule pattern = rule("a", {});
  pattern.patterns = {"(unclosed"};
  refused(pattern, "rule 'a': pattern '(unclosed'");
  pattern.patterns = {"(?=ahead)"};
  refused(pattern, "rule 'a': pattern '(?=ahead)'");
  pattern.patterns = {""};
  refused(pattern, "an empty pattern");
  refused(rule("b", {"*"}), "an empty word");
  refused(rule("c", {}), "neither words nor patterns");
  refused(rule("", {"x"}), "a rule without a name");
  refused(rule("d", {"x"}, {}, {}), "no fields");
  refused(rule("e", {"x"}, {}, {SeriesField::kDescription, SeriesField::kSopClass}),
          "a rule of their own");
}

// A pattern that takes other engines exponential time, on the longest text there is.
TEST(SeriesFilter, AnEvilPatternIsHarmless) {
  FilterRules all = rules();
  FilterRule evil = rule("evil", {});
  evil.patterns = {"(a+)+$", "(a|aa)+b"};
  all.exclude = {evil};
  EXPECT_TRUE(SeriesFilter(all).judge(ct(std::string(255, 'a') + "! arterial")).kept);
}

}  // namespace
}  // namespace med3d
