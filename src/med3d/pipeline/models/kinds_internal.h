// How each kind of model is fitted and read back: what model_list chooses from.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "med3d/nn/fusion_net.h"
#include "med3d/pipeline/models.h"

namespace med3d::pipeline {

// The clinical arm: encoder, oversampling inside the training rows, MLP.
std::unique_ptr<Model> fit_clinical_model(const FitRequest& request);
std::unique_ptr<Model> load_clinical_model(const Json& json,
                                           const TensorStore& store,
                                           const FittedModels& fitted);

// The radiology arm: a bag of scan vectors per patient.
std::unique_ptr<Model> fit_bag_model(const FitRequest& request,
                                     const std::vector<std::string>& modalities);
std::unique_ptr<Model> load_bag_model(const Json& json,
                                      const TensorStore& store,
                                      const FittedModels& fitted);

// One vector per patient, standardised: the whole-slide arm and the paper's unimodal baselines.
struct VectorModelOptions {
  std::vector<std::string> modalities;
  std::vector<int> hidden;
  std::vector<double> dropout;
  bool batch_norm = false;
  std::string pool = "mean";
  FitSettings fit;
};
std::unique_ptr<Model> fit_vector_model(const FitRequest& request,
                                        const VectorModelOptions& options);
std::unique_ptr<Model> load_vector_model(const Json& json,
                                         const TensorStore& store,
                                         const FittedModels& fitted);

// Fusion of features by one network, and of the arms' probabilities.
std::unique_ptr<Model> fit_early_fusion(const FitRequest& request,
                                        const std::vector<std::string>& arms,
                                        nn::FusionMode mode);
std::unique_ptr<Model> load_early_fusion(const Json& json,
                                         const TensorStore& store,
                                         const FittedModels& fitted);
std::unique_ptr<Model> load_late_fusion(const Json& json,
                                        const TensorStore& store,
                                        const FittedModels& fitted);

// Classical baselines. `kind` is "logistic" or "trees".
std::unique_ptr<Model> fit_majority(const FitRequest& request);
std::unique_ptr<Model> load_majority(const Json& json,
                                     const TensorStore& store,
                                     const FittedModels& fitted);
std::unique_ptr<Model> fit_table_baseline(const FitRequest& request,
                                          const std::string& kind,
                                          const std::vector<std::string>& columns);
std::unique_ptr<Model> load_table_baseline(const Json& json,
                                           const TensorStore& store,
                                           const FittedModels& fitted);
std::unique_ptr<Model> fit_fused_baseline(const FitRequest& request,
                                          const std::string& kind,
                                          const std::vector<std::string>& arms);
std::unique_ptr<Model> load_fused_baseline(const Json& json,
                                           const TensorStore& store,
                                           const FittedModels& fitted);

}  // namespace med3d::pipeline
