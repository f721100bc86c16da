// The figures of a report: each a drawing, words for those who cannot see it, and its data.
//
// Ids are not set here: the page numbers them (page.cc). Classes are told apart by shape or
// hatching as well as by colour; colours are blue and vermilion (Okabe and Ito), safe for
// colour-blind readers.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "med3d/report/document.h"
#include "med3d/report/plot.h"

namespace med3d::report {

// AUROC of every model with its interval, cross-validation and test. Nothing if no model has one.
std::optional<Figure> auroc_forest(const Document& document);

// Differences between models with their intervals, one set.
std::optional<Figure> comparison_forest(const Document& document, const std::string& set);

Figure cohort_flow(const Cohort& cohort);
Figure availability_patterns(const Cohort& cohort, const Endpoint& endpoint);
Figure missingness(const Cohort& cohort, const Endpoint& endpoint);
Figure class_balance(const std::vector<Balance>& balances, const Endpoint& endpoint);
Figure learning_curve(const LearningCurve& curve);
// Share without the event over time, one line a risk group (Kaplan-Meier).
Figure survival_curves(const SurvivalModel& model, const SurvivalModelSet& set);
Figure umap_scatter(const Projection& projection, const Endpoint& endpoint);
Figure late_weights(const std::vector<Weight>& weights);

Figure confusion_matrix(const Model& model, const ModelSet& set, const Endpoint& endpoint);
Figure roc_curve(const Model& model, const ModelSet& set);
Figure pr_curve(const Model& model, const ModelSet& set);
Figure calibration_plot(const Model& model, const ModelSet& set, const Endpoint& endpoint);

// "single arm", "fusion", ... for people.
std::string family_name(const std::string& family);

}  // namespace med3d::report
