// A report.json as far as a run has made it when checklists and cards are written, by hand.
#pragma once

#include "med3d/core/json.h"
#include "med3d/pipeline/test_cohort.h"

namespace med3d::pipeline {

inline Json estimate_of(double value, double low, double high) {
  return {{"value", value}, {"low", low}, {"high", high}};
}

inline Json hand_made_report() {
  const Json metrics = {{"auroc", estimate_of(0.81, 0.7, 0.9)},
                        {"auprc", {{"not_estimable", "one class"}}},
                        {"brier", estimate_of(0.15, 0.1, 0.2)}};
  const Json beside = {{"id", "always_positive"},
                       {"label", "Always positive"},
                       {"metric", "f1"},
                       {"difference", estimate_of(-0.02, -0.1, 0.06)}};
  return {{"version", "9.9.9"},
          {"title", "small: dead_12"},
          {"protocol", {{"summary", "1 repeats of 3-fold cross-validation by patient"}}},
          {"banners", {{{"level", "warning"}, {"text", "Research software."}}}},
          {"best", {{"arm", "clinical"}, {"fusion", ""}, {"baseline", ""}}},
          {"cohort",
           {{"n", 60},
            {"positives", 20},
            {"splits",
             {{{"name", "train"}, {"n", 45}, {"positives", 15}, {"negatives", 30}},
              {{"name", "test"}, {"n", 15}, {"positives", 5}, {"negatives", 10}}}},
            {"modalities",
             {{{"name", "clinical"}, {"patients", 60}, {"items", 60}, {"width", 3}},
              {{"name", "wsi"}, {"patients", 60}, {"items", 75}, {"width", 8}}}},
            {"findings", {{{"level", "warning"}, {"text", "few events"}}}},
            {"missing", {{{"column", "stage"}, {"share", 0.1}}}}}},
          {"models",
           {{{"id", "clinical"},
             {"label", "Clinical | MLP"},
             {"family", "arm"},
             {"sets",
              {{{"name", "cross-validation"},
                {"n", 45},
                {"positives", 15},
                {"metrics", metrics},
                {"baselines", {beside}}}}}},
            {{"id", "majority"}, {"label", "Majority"}, {"family", "reference"}, {"sets", {}}}}}};
}

// What a run with [survival] adds to it.
inline Json hand_made_survival() {
  return {
      {"endpoint",
       {{"name", "PFI"},
        {"description", "progression-free interval"},
        {"horizons_months", {12.0, 24.0}},
        {"unknown_at_horizon", "ipcw"}}},
      {"follow_up",
       {{"n", 90},
        {"events", 30},
        {"competing", 7},
        {"median_follow_up_months", estimate_of(40, 36, 45)},
        {"longest_months", 88.5}}},
      {"best", {{"set", "cross-validation"}}},
      {"subgroups", {{{"set", "cross-validation"}}}},
      {"optimism", Json::array()},
      {"sample_size",
       {{{"model", "wsi_cox"}, {"not_estimable", "the out-of-fold risk explains nothing"}},
        {{"model", "clinical_cox"},
         {"n", 75},
         {"parameters", 4},
         {"patients_needed", 300},
         {"events_needed", 99}}}},
      {"models",
       {{{"id", "kaplan_meier"},
         {"label", "Kaplan-Meier"},
         {"family", "reference"},
         {"sets", Json::array()}},
        {{"id", "clinical_cox"},
         {"label", "Clinical Cox"},
         {"family", "arm"},
         {"sets",
          {{{"name", "cross-validation"}, {"metrics", {{"c_index", estimate_of(0.7, 0.6, 0.8)}}}},
           {{"name", "test"}, {"metrics", {{"c_index", estimate_of(0.9, 0.8, 0.95)}}}},
           {{"name", "cross-validation"}, {"not_fitted", "no events"}}}}}}}};
}

}  // namespace med3d::pipeline
