#include "med3d/stats/survival/competing_risks.h"

#include <gtest/gtest.h>

#include <cmath>

#include "med3d/core/error.h"
#include "med3d/core/random.h"
#include "med3d/stats/survival/kaplan_meier.h"

namespace med3d::stats::survival {
namespace {

// Recurrence (1), death first (2), censored (0): 1:1, 2:2, 3:0, 4:1, 4:2 of five patients.
//   t=1: I1 = 1/5, S = 4/5.  t=2: I2 = 4/5 * 1/4 = 1/5, S = 3/5.  t=4: two at risk, one each:
//   I1 = 1/5 + 3/5 * 1/2 = 1/2, I2 = 1/2.
CompetingTimes five() { return {{1, 2, 3, 4, 4}, {1, 2, 0, 1, 2}}; }

TEST(CumulativeIncidence, MatchesHandComputedValues) {
  const CumulativeIncidence recurrence = cumulative_incidence(five(), 1);
  ASSERT_EQ(recurrence.row.size(), 4U);
  EXPECT_DOUBLE_EQ(recurrence.row[0].incidence, 0.2);
  EXPECT_DOUBLE_EQ(recurrence.row[0].std_error, std::sqrt(0.2 * 0.8 / 5.0));
  EXPECT_DOUBLE_EQ(recurrence.at(3.9).value, 0.2);
  EXPECT_DOUBLE_EQ(recurrence.at(4.0).value, 0.5);
  EXPECT_EQ(recurrence.row[3].n_event, 1);
  EXPECT_EQ(recurrence.row[3].n_other, 1);
  EXPECT_DOUBLE_EQ(recurrence.at(50.0).value, 0.5);  // nobody is left
  EXPECT_EQ(recurrence.at(0.5).value, 0.0);
  EXPECT_FALSE(recurrence.at(0.5).has_interval());
  EXPECT_DOUBLE_EQ(cumulative_incidence(five(), 2).at(4.0).value, 0.5);
  // At 4, the three terms of the header at s = 1, 2 and 4 (S(s-) = 1, 4/5, 3/5).
  const double gap1 = 0.3;  // I(4) - I(1), also I(4) - I(2)
  const double at1 = gap1 * gap1 / 20.0 + 4.0 / 125.0 - 2.0 * gap1 / 25.0;
  const double at2 = gap1 * gap1 / 12.0;
  const double at4 = 0.36 * 1.0 * 1.0 / 8.0;  // everybody leaves: no first term, gap 0
  EXPECT_NEAR(recurrence.row[3].std_error, std::sqrt(at1 + at2 + at4), 1e-14);
}

struct Drawn {
  std::vector<double> time;
  std::vector<std::uint8_t> cause;
};

Drawn draw(std::uint64_t kinds) {
  NumpyRandom random(11);
  Drawn out;
  for (int i = 0; i < 120; ++i) {
    out.time.push_back(static_cast<double>(random.randint(30)));
    out.cause.push_back(static_cast<std::uint8_t>(random.randint(kinds)));
  }
  return out;
}

TEST(CumulativeIncidence, SumsToOneWithSurvival) {
  const Drawn d = draw(4);
  const CompetingTimes times(d.time, d.cause);
  EXPECT_EQ(times.n_causes(), 3);
  const KaplanMeier km = kaplan_meier(times.any_event());
  const CumulativeIncidence cause[] = {cumulative_incidence(times, 1),
                                       cumulative_incidence(times, 2),
                                       cumulative_incidence(times, 3)};
  for (std::size_t i = 0; i < km.row.size(); ++i) {
    double sum = km.row[i].survival;
    for (const auto& c : cause) {
      sum += c.row[i].incidence;
      EXPECT_LE(c.row[i].incidence,
                1.0 - kaplan_meier(times.cause_specific(c.cause)).row[i].survival + 1e-12);
    }
    EXPECT_NEAR(sum, 1.0, 1e-13);
  }
}

TEST(CumulativeIncidence, OfOneCauseIsOneMinusKaplanMeierWithGreenwoodsError) {
  const Drawn d = draw(2);
  const CompetingTimes times(d.time, d.cause);
  const CumulativeIncidence one = cumulative_incidence(times, 1);
  const KaplanMeier km = kaplan_meier(times.any_event());
  for (std::size_t i = 0; i < km.row.size(); ++i) {
    EXPECT_NEAR(one.row[i].incidence, 1.0 - km.row[i].survival, 1e-13);
    if (km.row[i].survival > 0.0) {
      EXPECT_NEAR(one.row[i].std_error, km.row[i].std_error, 1e-10);
    }
  }
}

TEST(CumulativeIncidence, HasTheBinomialErrorWithoutCensoring) {
  Drawn d = draw(2);
  for (auto& c : d.cause) ++c;  // causes 1 and 2, nobody censored
  const CumulativeIncidence first = cumulative_incidence({d.time, d.cause}, 1);
  for (const IncidenceRow& r : first.row) {
    EXPECT_NEAR(r.std_error, std::sqrt(r.incidence * (1.0 - r.incidence) / 120.0), 1e-10);
    if (r.std_error > 0.0) {
      EXPECT_LT(r.low, r.incidence);
      EXPECT_GT(r.high, r.incidence);
    }
  }
}

TEST(CumulativeIncidence, SaysWhyAQuantityIsNotThere) {
  EXPECT_EQ(cumulative_incidence({}, 1).at(1.0).not_estimable, "no patients");
  EXPECT_EQ(cumulative_incidence({{1, 2}, {1, 0}}, 1).at(3.0).not_estimable,
            "3 months is beyond the last follow-up of 2 months");
  EXPECT_EQ(cumulative_incidence({{1, 2}, {1, 0}}, 2).at(2.0).value, 0.0);
  EXPECT_THROW(cumulative_incidence(five(), 0), Error);
  EXPECT_THROW(CompetingTimes({1}, {1, 2}), Error);
  EXPECT_THROW(CompetingTimes({-1}, {2}), Error);
}

TEST(CompetingHorizonLabels, CountACompetingEventAsFreeAndKnown) {
  // Horizon 3.5: G drops to 2/3 at 3. Recurrence at 1, death at 2, censored at 3, two still
  // watched.
  const HorizonLabels at = horizon_labels(five(), 1, 3.5);
  EXPECT_EQ(at.label, (std::vector<std::uint8_t>{1, 0, 0, 0, 0}));
  const std::vector<double> weight = {1.0, 1.0, 0.0, 1.5, 1.5};
  for (std::size_t i = 0; i < 5; ++i) EXPECT_DOUBLE_EQ(at.weight[i], weight[i]);
  EXPECT_EQ(at.n_event, 1);
  EXPECT_EQ(at.n_free, 3);
  EXPECT_EQ(at.n_unknown, 1);
}

TEST(CompetingHorizonLabels, GiveTheAalenJohansenRate) {
  const Drawn d = draw(3);
  const CompetingTimes times(d.time, d.cause);
  const HorizonLabels at = horizon_labels(times, 2, 17.5);
  double rate = 0.0;
  for (std::size_t i = 0; i < 120; ++i) rate += at.label[i] != 0 ? at.weight[i] / 120.0 : 0.0;
  EXPECT_NEAR(rate, cumulative_incidence(times, 2).at(17.5).value, 1e-12);
}

}  // namespace
}  // namespace med3d::stats::survival
