// Figures of time to event: discrimination of every model, calibration and net benefit at the main
// horizon, subgroups. Ids are set by the page, as for figures.h.
#pragma once

#include <optional>
#include <string>

#include "med3d/report/document.h"
#include "med3d/report/plot.h"

namespace med3d::report {

// Harrell's C of every model of a set with its interval, and of the midpoint of the clinical scores
// on the patients of the best model. Nothing if no model has one.
std::optional<Figure> c_index_forest(const Survival& survival, const std::string& set);

// Predicted risk against the share with the event (Kaplan-Meier) in groups of patients, at the main
// horizon. months: its shown number. Nothing without two groups.
std::optional<Figure> horizon_calibration_plot(const SurvivalModel& model,
                                               const SurvivalModelSet& set,
                                               const std::string& months);

// Net benefit over thresholds beside treating all and none. Nothing without a curve.
std::optional<Figure> decision_curve(const SurvivalModel& model,
                                     const SurvivalModelSet& set,
                                     const std::string& months);

// C of one model in subgroups of patients. Nothing without a subgroup that has one.
std::optional<Figure> subgroup_forest(const Survival& survival, const std::string& model);

// C of the best models by the number of training patients. Nothing without a learning curve of one
// of them.
std::optional<Figure> survival_learning_curve(const Survival& survival);

}  // namespace med3d::report
