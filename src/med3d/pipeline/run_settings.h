// Everything a run can be told, with the paper's values as defaults.
//
// One struct a section; `describe` lists each key once, and that list is what reads the file,
// checks ranges, names a mistyped key, prints the resolved settings and writes docs/settings.md.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "med3d/nn/training.h"
#include "med3d/pipeline/cohort_settings.h"
#include "med3d/pipeline/raw_settings.h"
#include "med3d/pipeline/settings.h"

namespace med3d::pipeline {

// How one network is trained; shared by all sections that train one.
struct FitSettings {
  int epochs = 50;
  int batch_size = 32;
  double learning_rate = 1e-3;
  double weight_decay = 1e-4;
  std::string scheduler = "plateau";
  std::string loss = "cross_entropy";
  bool class_weights = false;
  double label_smoothing = 0.0;
  std::string sampler = "shuffle";
  double feature_noise = 0.0;
  int patience = 0;
  std::string select = "last";
  double validation_share = 0.0;
  int ensemble = 1;

  // Without validation rows nothing is stopped early or selected: the last epoch is kept.
  nn::TrainingOptions training(std::uint64_t seed,
                               nn::DeviceKind device,
                               bool has_validation) const;

  void describe(SettingsSchema& schema) {
    schema.field("epochs", epochs, "passes over the training rows", in_range(1, 100000));
    schema.field("batch_size", batch_size, "rows in one step", in_range(2, 1 << 20));
    schema.field("learning_rate", learning_rate, "Adam's step size", in_range(1e-12, 10.0));
    schema.field(
        "weight_decay", weight_decay, "L2 penalty added to the gradient", in_range(0.0, 10.0));
    schema.field("scheduler",
                 scheduler,
                 "how the learning rate falls",
                 one_of({"none", "plateau", "step", "cosine"}));
    schema.field("loss",
                 loss,
                 "two logits with cross-entropy, or one with binary cross-entropy",
                 one_of({"cross_entropy", "bce"}));
    schema.field(
        "class_weights",
        class_weights,
        "weigh classes by n / (2 n_c) (cross_entropy) or pos_weight = n_neg / n_pos (bce)");
    schema.field("label_smoothing",
                 label_smoothing,
                 "share of a label spread over both classes",
                 in_range(0.0, 0.5));
    schema.field("sampler",
                 sampler,
                 "order of rows: shuffled, or drawn with weights that balance the classes",
                 one_of({"shuffle", "weighted"}));
    schema.field("feature_noise",
                 feature_noise,
                 "Gaussian noise on inputs in training, in standard deviations of each feature",
                 in_range(0.0, 10.0));
    schema.field("patience",
                 patience,
                 "epochs without a better validation loss before stopping; 0 = never",
                 in_range(0, 100000));
    schema.field("select",
                 select,
                 "which epoch's weights are kept",
                 one_of({"last", "best_loss", "best_balanced_accuracy"}));
    schema.field("validation_share",
                 validation_share,
                 "share of the training rows held out to stop or select by; 0 = none",
                 in_range(0.0, 0.5));
    schema.field("ensemble",
                 ensemble,
                 "networks of different seeds whose answers are averaged",
                 in_range(1, 100));
  }
};

struct RunSection {
  int seed = 1;
  int threads = 0;
  std::string device = "auto";
  std::vector<std::string> models;

  void describe(SettingsSchema& schema) {
    schema.field(
        "seed", seed, "the one seed from which all random numbers come", in_range(0, 2147483647));
    schema.field("threads",
                 threads,
                 "threads; 0 = all cores. Results do not depend on it",
                 in_range(0, 4096));
    schema.field("device", device, "where networks are trained", one_of({"auto", "cpu", "cuda"}));
    schema.field("models", models, "ids of the models to fit; empty = all that the data allow");
  }
};

struct ValidationSection {
  std::string protocol = "cross-validation";
  int folds = 5;
  int repeats = 5;
  int inner_folds = 3;
  bool stratify_by_source = false;
  std::string threshold = "balanced_accuracy";
  std::string selection_metric = "auroc";
  std::string rank_metric = "auroc";
  int bootstrap = 1000;
  std::string interval = "percentile";
  double confidence = 0.95;
  StringListMap select;

  void describe(SettingsSchema& schema) {
    schema.field(
        "protocol",
        protocol,
        "paper-leak adds the paper's oversampling before the split, with a banner, beside the "
        "honest result",
        one_of({"cross-validation", "paper-leak"}));
    schema.field("folds",
                 folds,
                 "folds of the outer cross-validation inside the train rows",
                 in_range(2, 100));
    schema.field("repeats", repeats, "times the outer folds are drawn anew", in_range(1, 1000));
    schema.field(
        "inner_folds",
        inner_folds,
        "folds inside each training side: out-of-fold predictions for thresholds, late-fusion "
        "weights and selection",
        in_range(2, 100));
    schema.field(
        "stratify_by_source", stratify_by_source, "balance TCGA and CPTAC over folds as well");
    schema.field("threshold",
                 threshold,
                 "threshold with the best out-of-fold balanced accuracy, or 0.5",
                 one_of({"balanced_accuracy", "half"}));
    schema.field("selection_metric",
                 selection_metric,
                 "what nested selection maximises on inner folds",
                 one_of({"auroc", "balanced_accuracy", "log_loss"}));
    schema.field("rank_metric",
                 rank_metric,
                 "the metric by which models are ranked, declared before the run",
                 one_of({"auroc", "balanced_accuracy"}));
    schema.field(
        "bootstrap", bootstrap, "patient-level resamples for intervals", in_range(0, 1000000));
    schema.field("interval",
                 interval,
                 "limits of bootstrap intervals: quantiles of the resamples (percentile), or "
                 "corrected for bias and skewness (bca), which asks one more resample a patient",
                 one_of({"percentile", "bca"}));
    schema.field("confidence", confidence, "level of all intervals", in_range(0.5, 0.999));
    schema.field(
        "select",
        select,
        "candidates for nested selection, as \"clinical_arm.balance\" = [\"none\", \"smote\"]");
  }
};

// The paper's clinical and genomic MLP (sections 5.1.2-5.1.3).
struct ClinicalSection {
  std::string balance = "smote";
  int k_neighbors = 5;
  std::vector<int> hidden = {256, 128, 64};
  std::vector<double> dropout = {0.3, 0.3, 0.0};
  bool batch_norm = true;
  std::string embedding = "fc3";
  std::vector<std::string> columns;
  bool missing_indicators = true;
  double max_missing = 1.0;
  FitSettings fit;

  void describe(SettingsSchema& schema) {
    schema.field("balance",
                 balance,
                 "oversampling of the training fold's minority class",
                 one_of({"none", "smote", "adasyn", "smotenc", "random"}));
    schema.field("k_neighbors", k_neighbors, "neighbours of SMOTE and ADASYN", in_range(1, 1000));
    schema.field("hidden", hidden, "widths of the hidden layers");
    schema.field("dropout", dropout, "dropout after each hidden layer");
    schema.field("batch_norm", batch_norm, "batch normalisation after each hidden layer");
    schema.field("embedding",
                 embedding,
                 "hidden layer written to clinical_features.csv: 128 or 64 numbers",
                 one_of({"fc2", "fc3"}));
    schema.field("columns", columns, "table columns used; empty = all that are usable");
    schema.field("missing_indicators", missing_indicators, "add a 0/1 column for 'was missing'");
    schema.field("max_missing",
                 max_missing,
                 "columns with a larger missing share are dropped",
                 in_range(0.0, 1.0));
    fit.describe(schema);
  }
};

// The paper's CT/MRI network on scan embeddings (sections 5.2.4-5.2.5).
struct RadiologySection {
  bool joint = true;
  std::vector<int> hidden = {256, 128};
  double dropout = 0.0;
  std::string pool = "max";
  bool standardize = true;
  FitSettings fit;

  RadiologySection() {
    fit.epochs = 70;
    fit.loss = "bce";
    fit.class_weights = true;
    fit.sampler = "weighted";
    fit.scheduler = "none";
    fit.feature_noise = 0.05;
    fit.patience = 10;
    fit.select = "best_loss";
    fit.validation_share = 0.2;
  }

  void describe(SettingsSchema& schema) {
    schema.field("joint", joint, "one arm for CT and MRI scans together; false = an arm each");
    schema.field("hidden", hidden, "widths of the hidden layers");
    schema.field("dropout", dropout, "dropout after each hidden layer", in_range(0.0, 0.95));
    schema.field("pool",
                 pool,
                 "how a patient's scans become one answer",
                 one_of({"max", "mean", "noisy_or", "attention"}));
    schema.field("standardize", standardize, "scan features to mean 0, sd 1 of the training rows");
    fit.describe(schema);
  }
};

// Whole-slide vectors: patient vector and classifier (sections 5.3.3-5.3.4, 5.4.1).
struct WsiSection {
  std::string pool = "mean";
  std::vector<int> hidden = {256, 64};
  std::vector<double> dropout = {0.3, 0.3};
  bool batch_norm = true;
  FitSettings fit;

  WsiSection() { fit.class_weights = true; }

  void describe(SettingsSchema& schema) {
    schema.field(
        "pool",
        pool,
        "patient vector: mean of slides, attention-weighted mean of slides, or the slide with "
        "the highest attention",
        one_of({"mean", "attention", "top"}));
    schema.field("hidden", hidden, "widths of the hidden layers");
    schema.field("dropout", dropout, "dropout after each hidden layer");
    schema.field("batch_norm", batch_norm, "batch normalisation after each hidden layer");
    fit.describe(schema);
  }
};

// The paper's unimodal baselines (section 5.4.1): two layers, dropout, label smoothing, best epoch.
struct BaselineSection {
  std::vector<int> hidden = {128, 64};
  std::vector<double> dropout = {0.3, 0.3};
  bool batch_norm = false;
  FitSettings fit;

  BaselineSection() {
    fit.label_smoothing = 0.1;
    fit.select = "best_balanced_accuracy";
    fit.validation_share = 0.2;
    fit.class_weights = true;
  }

  void describe(SettingsSchema& schema) {
    schema.field("hidden", hidden, "widths of the hidden layers");
    schema.field("dropout", dropout, "dropout after each hidden layer");
    schema.field("batch_norm", batch_norm, "batch normalisation after each hidden layer");
    fit.describe(schema);
  }
};

// Early and late fusion (sections 3.5 and 5.4).
struct FusionSection {
  std::string clinical_input = "fc3";
  int projection = 128;
  std::vector<int> hidden = {128, 64};
  std::vector<double> dropout = {0.3, 0.3};
  double modality_dropout = 0.2;
  std::string late_rule = "balanced_accuracy";
  std::string calibrate_arms = "none";
  FitSettings fit;

  FusionSection() { fit.class_weights = true; }

  void describe(SettingsSchema& schema) {
    schema.field(
        "clinical_input",
        clinical_input,
        "what early fusion sees of the table: the clinical arm's 128 or 64 numbers, or the "
        "encoded columns",
        one_of({"fc2", "fc3", "encoded"}));
    schema.field("projection",
                 projection,
                 "width to which early mean projects each modality",
                 in_range(1, 4096));
    schema.field("hidden", hidden, "widths of the hidden layers");
    schema.field("dropout", dropout, "dropout after each hidden layer");
    schema.field("modality_dropout",
                 modality_dropout,
                 "probability that a present modality is hidden in a training step",
                 in_range(0.0, 0.95));
    schema.field("late_rule",
                 late_rule,
                 "weight of an arm: its out-of-fold balanced accuracy, or what it has above 0.5",
                 one_of({"balanced_accuracy", "excess"}));
    schema.field(
        "calibrate_arms",
        calibrate_arms,
        "before late fusion, map each arm's probability by a logistic fit on its out-of-fold "
        "predictions (platt); none adds probabilities as they are, as the paper does",
        one_of({"none", "platt"}));
    fit.describe(schema);
  }
};

struct ClassicalSection {
  double logistic_c = 0.1;
  double fused_logistic_c = 0.01;
  int rounds = 100;
  int max_depth = 2;
  double learning_rate = 0.05;
  double subsample = 0.7;
  double colsample = 0.7;

  void describe(SettingsSchema& schema) {
    schema.field("logistic_c",
                 logistic_c,
                 "inverse penalty of the logistic on the table",
                 in_range(1e-9, 1e9));
    schema.field("fused_logistic_c",
                 fused_logistic_c,
                 "inverse penalty of the logistic on all modalities",
                 in_range(1e-9, 1e9));
    schema.field("rounds", rounds, "boosted trees", in_range(1, 100000));
    schema.field("max_depth", max_depth, "depth of a tree", in_range(1, 20));
    schema.field("learning_rate", learning_rate, "shrinkage of a tree", in_range(1e-6, 1.0));
    schema.field("subsample", subsample, "share of rows a tree sees", in_range(0.01, 1.0));
    schema.field("colsample", colsample, "share of columns a tree sees", in_range(0.01, 1.0));
  }
};

// Time to event: models with survival heads beside the classifiers, on every patient who was
// followed, whether or not the outcome at the horizon is known.
struct SurvivalSection {
  bool enabled = false;
  std::vector<double> horizons_months = {12, 24, 60};
  std::string unknown_at_horizon = "ipcw";
  std::vector<std::string> heads = {"cox", "discrete", "deepsurv", "boosted"};
  std::string arm_head = "cox";
  std::vector<std::string> models;
  std::vector<std::string> designs = {"cross-validation", "source"};
  std::vector<double> learning_curve;
  std::vector<std::string> subgroups = {"source"};
  int bootstrap = 1000;
  int optimism = 200;
  int components = 16;
  std::vector<double> cox_alpha = {0.0};
  int cox_lambdas = 20;
  double cox_lambda_min_ratio = 0.001;
  int cox_folds = 5;
  int intervals = 4;
  double nll_alpha = 0.0;
  std::vector<int> hidden = {32};
  double dropout = 0.3;
  int epochs = 60;
  double learning_rate = 3e-3;
  double weight_decay = 1e-2;
  double modality_dropout = 0.2;
  int rounds = 100;
  int max_depth = 2;
  double boosting_rate = 0.05;
  int min_site_patients = 10;

  void describe(SettingsSchema& schema) {
    schema.field("enabled",
                 enabled,
                 "fit models of time to event as well; the endpoint must name its time and event");
    schema.field(
        "horizons_months",
        horizons_months,
        "horizons of AUC, Brier score and risks, rising; [endpoint] horizon_months, or the "
        "second of them, is the one that ranks patients",
        in_range(0.1, 1200));
    schema.field("unknown_at_horizon",
                 unknown_at_horizon,
                 "patients censored before a horizon: made up for by inverse probability of "
                 "censoring (ipcw), or left out (exclude)",
                 one_of({"ipcw", "exclude"}));
    schema.field("heads",
                 heads,
                 "elastic-net Cox, hazards of intervals, DeepSurv, boosted Cox: one model for each "
                 "arm and for early fusion",
                 one_of({"cox", "discrete", "deepsurv", "boosted"}));
    schema.field("arm_head",
                 arm_head,
                 "the head whose arms late fusion joins",
                 one_of({"cox", "discrete", "deepsurv", "boosted"}));
    schema.field("models", models, "ids of the models to fit; empty = all that the data allow");
    schema.field("designs",
                 designs,
                 "validation: repeated cross-validation, train on one source and test on the "
                 "others (source), leave one TCGA site out (site), folds that keep sites whole "
                 "(preserved-site); inside the train rows",
                 one_of({"cross-validation", "source", "site", "preserved-site"}));
    schema.field("learning_curve",
                 learning_curve,
                 "shares of each training side to learn from; empty = no learning curve",
                 in_range(0.05, 1.0));
    schema.field("subgroups",
                 subgroups,
                 "table columns (and source) by whose values results are shown apart; more than 8 "
                 "values are cut at the median");
    schema.field(
        "bootstrap", bootstrap, "patient-level resamples for intervals", in_range(0, 1000000));
    schema.field("optimism",
                 optimism,
                 "resamples on which Cox models of the table are fitted anew, to take from their "
                 "apparent C-index and slope what fitting added; 0 = none",
                 in_range(0, 100000));
    schema.field("components",
                 components,
                 "principal components of each embedding, of the training rows; 0 = all features",
                 in_range(0, 4096));
    schema.field("cox_alpha",
                 cox_alpha,
                 "candidates of the elastic net: 0 = ridge, 1 = lasso; chosen with the penalty",
                 in_range(0.0, 1.0));
    schema.field("cox_lambdas", cox_lambdas, "penalties on the path", in_range(2, 1000));
    schema.field("cox_lambda_min_ratio",
                 cox_lambda_min_ratio,
                 "smallest over largest penalty",
                 in_range(1e-6, 0.9));
    schema.field("cox_folds",
                 cox_folds,
                 "folds inside the training rows that choose the penalty",
                 in_range(2, 100));
    schema.field("intervals",
                 intervals,
                 "intervals of discrete time, quantiles of the training events",
                 in_range(2, 100));
    schema.field("nll_alpha",
                 nll_alpha,
                 "discrete time: weight taken from censored patients",
                 in_range(0.0, 0.99));
    schema.field("hidden", hidden, "widths of the hidden layers of the networks");
    schema.field("dropout", dropout, "dropout after each hidden layer", in_range(0.0, 0.95));
    schema.field("epochs", epochs, "passes over the training rows", in_range(1, 100000));
    schema.field("learning_rate", learning_rate, "Adam's step size", in_range(1e-12, 10.0));
    schema.field(
        "weight_decay", weight_decay, "L2 penalty added to the gradient", in_range(0.0, 10.0));
    schema.field(
        "modality_dropout",
        modality_dropout,
        "early fusion by networks: probability that a present modality is hidden in a step",
        in_range(0.0, 0.95));
    schema.field("rounds", rounds, "boosted Cox: trees", in_range(1, 100000));
    schema.field("max_depth", max_depth, "boosted Cox: depth of a tree", in_range(1, 20));
    schema.field(
        "boosting_rate", boosting_rate, "boosted Cox: shrinkage of a tree", in_range(1e-6, 1.0));
    schema.field("min_site_patients",
                 min_site_patients,
                 "leave-one-site-out: smaller sites are held out together",
                 in_range(1, 100000));
  }
};

struct RunSettings {
  CohortSettings cohort;
  RawSettings raw;
  RunSection run;
  ValidationSection validation;
  ClinicalSection clinical_arm;
  RadiologySection radiology_arm;
  WsiSection wsi_arm;
  BaselineSection baseline_mlp;
  FusionSection fusion;
  ClassicalSection classical;
  SurvivalSection survival;

  // All sections, the cohort's first.
  void describe(SettingsSchema& schema);
  // What ranges cannot say. Throws Error(kUsage).
  void validate() const;
  // A copy with one more "section.key=value" on top: a candidate of nested selection.
  RunSettings with(const std::vector<std::string>& overrides) const;
};

}  // namespace med3d::pipeline
