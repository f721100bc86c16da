#include "med3d/stats/survival/cox.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "med3d/core/error.h"
#include "med3d/core/random.h"
#include "med3d/stats/survival/kaplan_meier.h"
#include "med3d/stats/survival/test_survival.inl"

namespace med3d::stats::survival {
namespace {

Matrix<double> one_column(const std::vector<double>& value) {
  Matrix<double> out(value.size(), 1);
  std::copy(value.begin(), value.end(), out.data());
  return out;
}

TEST(CoxFit, MatchesTheClosedFormOfThreePatients) {
  // Events at 1 (x = 0), 2 (x = 1), 3 (x = 0), w = exp(b). l = -log(2 + w) + b - log(1 + w).
  // Zero gradient: 1 = w / (2 + w) + w / (1 + w), so w^2 = 2 and b = log(2) / 2.
  // Information: 2w / (2 + w)^2 + w / (1 + w)^2 at w = sqrt 2.
  const CoxFit fit = cox_fit(SurvivalTimes({1, 2, 3}, {1, 1, 1}), one_column({0, 1, 0}));
  const double w = std::sqrt(2.0);
  EXPECT_NEAR(fit.term[0].coefficient.value, std::log(2.0) / 2.0, 1e-10);
  EXPECT_NEAR(fit.term[0].std_error,
              1.0 / std::sqrt(2.0 * w / ((2.0 + w) * (2.0 + w)) + w / ((1.0 + w) * (1.0 + w))),
              1e-9);
  EXPECT_NEAR(fit.log_likelihood_null, -std::log(6.0), 1e-14);
  EXPECT_NEAR(fit.log_likelihood, std::log(w) - std::log(2.0 + w) - std::log(1.0 + w), 1e-14);
  // Baseline: 1 / (2 + w), then 1 / (1 + w), then 1.
  ASSERT_EQ(fit.step.size(), 3U);
  EXPECT_NEAR(fit.step[1].cumulative_hazard, 1.0 / (2.0 + w) + 1.0 / (1.0 + w), 1e-10);
  EXPECT_NEAR(fit.cumulative_hazard(2.5).value, fit.step[1].cumulative_hazard, 0.0);
  EXPECT_TRUE(fit.warnings.empty());
}

TEST(CoxFit, TreatsTiesAsEfronAndBreslowDo) {
  // Two die at 1 (lp 0 and b = log 2), one lives (lp 0): R = 4, D = 3.
  // Breslow: log 2 - 2 log 4. Efron: log 2 - log 4 - log(4 - 3/2).
  const SurvivalTimes times({1, 1, 2}, {1, 1, 0});
  const std::vector<double> lp = {0.0, std::log(2.0), 0.0};
  EXPECT_NEAR(cox_log_likelihood(times, lp, Ties::kBreslow), std::log(2.0 / 16.0), 1e-14);
  EXPECT_NEAR(cox_log_likelihood(times, lp, Ties::kEfron), std::log(2.0 / 10.0), 1e-14);
}

TEST(CoxLogLikelihood, HasTheDerivativesOfCentralDifferences) {
  NumpyRandom random(4);
  std::vector<double> time;
  std::vector<std::uint8_t> event;
  std::vector<double> lp;
  for (int i = 0; i < 25; ++i) {
    time.push_back(static_cast<double>(random.randint(8)));
    event.push_back(random.randint(3) == 0 ? 0 : 1);
    lp.push_back(random.normal());
  }
  const SurvivalTimes times(time, event);
  for (const Ties ties : {Ties::kEfron, Ties::kBreslow}) {
    std::vector<double> gradient(25);
    std::vector<double> curvature(25);
    const double value = cox_log_likelihood(times, lp, ties, gradient, curvature);
    for (std::size_t i = 0; i < lp.size(); ++i) {
      const double h = 1e-4;
      std::vector<double> moved = lp;
      moved[i] += h;
      const double up = cox_log_likelihood(times, moved, ties);
      moved[i] -= 2.0 * h;
      const double down = cox_log_likelihood(times, moved, ties);
      EXPECT_NEAR(gradient[i], (up - down) / (2.0 * h), 1e-7);
      EXPECT_NEAR(curvature[i], -(up - 2.0 * value + down) / (h * h), 1e-5);
    }
    EXPECT_NEAR(std::accumulate(gradient.begin(), gradient.end(), 0.0), 0.0, 1e-12);
    std::vector<double> shifted = lp;
    for (double& v : shifted) v += 500.0;  // exp would overflow without the shift inside
    EXPECT_NEAR(cox_log_likelihood(times, shifted, ties), value, 1e-9);
  }
}

TEST(CoxFit, NamesCovariatesWithoutACoefficient) {
  const SurvivalTimes times({1, 2, 3, 4, 5, 6}, {1, 1, 1, 0, 1, 1});
  Matrix<double> x(6, 4);
  const double a[] = {1, 0, 1, 0, 0, 1};
  const double c[] = {2, 1, 1, 3, 0, 1};
  for (std::size_t i = 0; i < 6; ++i) {
    x(i, 0) = a[i];
    x(i, 1) = 7.1;  // constant
    x(i, 2) = c[i];
    x(i, 3) = 2.0 * a[i] - c[i] + 5.0;  // collinear
  }
  const CoxFit fit = cox_fit(times, x);
  EXPECT_TRUE(fit.term[0].coefficient.ok());
  EXPECT_EQ(fit.term[1].coefficient.not_estimable, "constant among the patients at risk");
  EXPECT_TRUE(fit.term[2].coefficient.ok());
  EXPECT_EQ(fit.term[3].coefficient.not_estimable, "a combination of the covariates before it");
  EXPECT_TRUE(std::isnan(fit.term[3].coefficient.value));
  EXPECT_EQ(fit.warnings.size(), 2U);
  EXPECT_EQ(fit.likelihood_ratio.df, 2);
  Matrix<double> two(6, 2);
  for (std::size_t i = 0; i < 6; ++i) {
    two(i, 0) = a[i];
    two(i, 1) = c[i];
  }
  EXPECT_NEAR(cox_fit(times, two).log_likelihood, fit.log_likelihood, 1e-10);
}

TEST(CoxFit, SaysThatACoefficientRunsToInfinity) {
  // The larger x, the earlier the event, without exception: no finite maximum.
  const CoxFit fit = cox_fit(SurvivalTimes({1, 2, 3, 4}, {1, 1, 1, 1}), one_column({9, 5, 2, 1}));
  EXPECT_EQ(fit.term[0].coefficient.not_estimable,
            "runs to infinity: it orders the events perfectly");
  EXPECT_FALSE(fit.warnings.empty());
  EXPECT_TRUE(std::isnan(fit.term[0].hazard_ratio.value));
}

TEST(CoxFit, IsNotEstimableWithoutEvents) {
  const CoxFit fit = cox_fit(SurvivalTimes({1, 2}, {0, 0}), one_column({0, 1}));
  EXPECT_EQ(fit.not_estimable, "no events");
  EXPECT_EQ(fit.term[0].coefficient.not_estimable, "no events");
  EXPECT_TRUE(std::isnan(fit.likelihood_ratio.p));
  EXPECT_FALSE(fit.cumulative_hazard(1.0).ok());
  EXPECT_TRUE(std::isnan(fit.risk_at(one_column({1}), 1.0).probability[0]));
  EXPECT_EQ(cox_fit({}, Matrix<double>(0, 2)).not_estimable, "no patients");
  const SurvivalTimes times({1, 2}, {0, 0});
  EXPECT_EQ(cox_zph(times, one_column({0, 1}), fit).not_estimable, "no events");
}

TEST(CoxFit, WithoutCovariatesGivesNelsonAalen) {
  const SurvivalTimes times({2, 5, 2, 9, 2, 7}, {1, 1, 0, 1, 1, 0});
  CoxOptions options;
  options.ties = Ties::kBreslow;
  const CoxFit fit = cox_fit(times, Matrix<double>(6, 0), options);
  const KaplanMeier km = kaplan_meier(times);
  ASSERT_EQ(fit.step.size(), km.row.size());
  for (std::size_t i = 0; i < km.row.size(); ++i) {
    EXPECT_NEAR(fit.step[i].cumulative_hazard, km.row[i].cumulative_hazard, 1e-14);
  }
}

TEST(CoxFit, RejectsImpossibleInput) {
  const SurvivalTimes times({1, 2}, {1, 0});
  try {
    cox_fit(times, one_column({0, INFINITY}));
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "row 1, covariate 0: inf, expected a finite number");
  }
  EXPECT_THROW(cox_fit(times, one_column({0})), Error);
  CoxOptions options;
  options.max_iterations = 0;
  EXPECT_THROW(cox_fit(times, one_column({0, 1}), options), Error);
  const CoxFit fit = cox_fit(times, one_column({0, 1}));
  EXPECT_THROW(fit.linear_predictor(Matrix<double>(1, 2)), Error);
  EXPECT_THROW(cox_zph(times, one_column({0, 1}), fit, TimeTransform::kLog, {{1}}), Error);
}

TEST(CoxRisk, IsReadAtTheEndOfFollowUpWithAWarning) {
  const CoxFit fit = cox_fit(SurvivalTimes({1, 2, 3}, {1, 1, 1}), one_column({0, 1, 0}));
  const auto late = fit.risk_at(one_column({0.0}), 12.0);
  EXPECT_EQ(late.used_months, 3.0);
  EXPECT_EQ(late.warning, "risk at 12 months read at the last follow-up of 3 months");
  const auto early = fit.risk_at(one_column({0.0, 1.0}), 0.5);
  EXPECT_EQ(early.probability, (std::vector<double>{0.0, 0.0}));
  const double w = std::sqrt(2.0);
  EXPECT_NEAR(
      fit.risk_at(one_column({1.0}), 1.0).probability[0], 1.0 - std::exp(-w / (2.0 + w)), 1e-9);
}

struct SetOfR {
  const char* name;
  std::vector<std::string> columns;  // "rx=1" is a dummy
  std::vector<std::vector<std::size_t>> terms;
};

Matrix<double> design(const Table& data, const std::vector<std::string>& columns) {
  Matrix<double> out(data.size(), columns.size());
  for (std::size_t j = 0; j < columns.size(); ++j) {
    const auto equals = columns[j].find('=');
    for (std::size_t i = 0; i < data.size(); ++i) {
      out(i, j) =
          equals == std::string::npos
              ? data.number(i, columns[j])
              : (data.text(i, columns[j].substr(0, equals)) == columns[j].substr(equals + 1) ? 1.0
                                                                                             : 0.0);
    }
  }
  return out;
}

class CoxAgainstR : public ::testing::TestWithParam<SetOfR> {};

TEST_P(CoxAgainstR, CoefficientsTestsResidualsAndBaselineAgree) {
  const auto folder = reference_folder("survival");
  MED3D_NEED_REFERENCE(folder);
  const std::string set = GetParam().name;
  const Table data(folder / ("data_" + set + ".csv"));
  const SurvivalTimes times = data.times();
  const Matrix<double> x = design(data, GetParam().columns);
  const Table tests(folder / "cox_tests.csv");
  CoxFit efron;
  for (const Ties ties : {Ties::kBreslow, Ties::kEfron}) {
    CoxOptions options;
    options.ties = ties;
    const std::string name = ties == Ties::kEfron ? "efron" : "breslow";
    const CoxFit fit = cox_fit(times, x, options);
    const Table terms(folder / ("cox_" + set + "_" + name + ".csv"));
    ASSERT_EQ(fit.term.size(), terms.size());
    for (std::size_t j = 0; j < fit.term.size(); ++j) {
      const CoxTerm& term = fit.term[j];
      const std::string where = set + " " + name + " " + terms.text(j, "term");
      expect_close(term.coefficient.value, terms.number(j, "coef"), 1e-8, where);
      expect_close(term.std_error, terms.number(j, "se"), 1e-8, where);
      expect_close(term.z, terms.number(j, "z"), 1e-7, where);
      EXPECT_NEAR(term.p / terms.number(j, "p"), 1.0, 1e-5) << where;
      expect_close(term.hazard_ratio.value, terms.number(j, "hr"), 1e-8, where);
      expect_close(term.hazard_ratio.low, terms.number(j, "hr_lower"), 1e-8, where);
      expect_close(term.hazard_ratio.high, terms.number(j, "hr_upper"), 1e-8, where);
    }
    int found = 0;
    for (std::size_t i = 0; i < tests.size(); ++i) {
      if (tests.text(i, "set") != set || tests.text(i, "ties") != name) continue;
      ++found;
      expect_close(fit.log_likelihood_null, tests.number(i, "loglik0"), 1e-12, set);
      expect_close(fit.log_likelihood, tests.number(i, "loglik1"), 1e-12, set);
      expect_close(fit.likelihood_ratio.chi_squared, tests.number(i, "lr"), 1e-10, set);
      EXPECT_NEAR(fit.likelihood_ratio.p / tests.number(i, "lr_p"), 1.0, 1e-7);
      expect_close(fit.score.chi_squared, tests.number(i, "score"), 1e-9, set);
      EXPECT_NEAR(fit.wald.chi_squared, tests.number(i, "wald"), 0.0051) << "R rounds to 0.01";
    }
    EXPECT_EQ(found, 1);
    if (ties == Ties::kEfron) efron = fit;
  }

  const Table expected(folder / ("cox_lp_" + set + ".csv"));
  const std::vector<double> lp = efron.linear_predictor(x);
  const double shift = lp[0] - expected.number(0, "lp_centred");
  const CoxResiduals residuals = cox_residuals(times, lp);
  for (std::size_t i = 0; i < lp.size(); ++i) {
    expect_close(lp[i] - shift, expected.number(i, "lp_centred"), 1e-7, set);
    expect_close(residuals.martingale[i], expected.number(i, "martingale"), 1e-7, set);
    expect_close(residuals.deviance[i], expected.number(i, "deviance"), 1e-6, set);
  }
  const Table baseline(folder / ("basehaz_" + set + ".csv"));
  ASSERT_EQ(efron.step.size(), baseline.size());
  for (std::size_t i = 0; i < baseline.size(); ++i) {
    EXPECT_EQ(efron.step[i].time_months, baseline.number(i, "time"));
    expect_close(efron.step[i].cumulative_hazard, baseline.number(i, "cumhaz"), 1e-7, set);
  }

  const Table zph(folder / ("coxzph_" + set + ".csv"));
  const ProportionalHazards check =
      cox_zph(times, x, efron, TimeTransform::kKaplanMeier, GetParam().terms);
  ASSERT_EQ(check.term.size() + 1, zph.size());
  for (std::size_t i = 0; i < zph.size(); ++i) {
    const ChiSquaredTest& test = i < check.term.size() ? check.term[i] : check.global;
    const std::string where = set + " zph " + zph.text(i, "term");
    expect_close(test.chi_squared, zph.number(i, "chisq"), 1e-6, where);
    EXPECT_EQ(test.df, zph.number(i, "df")) << where;
    EXPECT_NEAR(test.p / zph.number(i, "p"), 1.0, 1e-5) << where;
  }
  // Score equations: Schoenfeld residuals sum to 0 at the maximum.
  for (std::size_t j = 0; j < x.cols(); ++j) {
    double sum = 0.0;
    for (std::size_t e = 0; e < check.schoenfeld.rows(); ++e) sum += check.schoenfeld(e, j);
    EXPECT_NEAR(sum, 0.0, 1e-6);
  }

  const Table partial(folder / "partial_loglik.csv");
  for (std::size_t i = 0; i < partial.size(); ++i) {
    if (partial.text(i, "set") != set) continue;
    const Ties ties = partial.text(i, "ties") == "efron" ? Ties::kEfron : Ties::kBreslow;
    expect_close(-cox_log_likelihood(times, data.numbers("lp_given"), ties),
                 partial.number(i, "neg_log_partial_likelihood"),
                 1e-12,
                 set);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Sets,
    CoxAgainstR,
    ::testing::Values(SetOfR{"lung", {"age", "sex", "ph.ecog"}, {}},
                      SetOfR{"colon_recurrence",
                             {"rx=1", "rx=2", "sex", "age", "obstruct", "nodes"},
                             {{0, 1}, {2}, {3}, {4}, {5}}},
                      SetOfR{"rotterdam", {"age", "size", "nodes", "hormon", "chemo"}, {}}));

}  // namespace
}  // namespace med3d::stats::survival
