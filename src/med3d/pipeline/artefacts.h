// What the final fit leaves behind beside its predictions: the paper's three feature files,
// learning curves, class counts before and after oversampling, and the hidden layers that UMAP will
// show.
#pragma once

#include <filesystem>

#include "med3d/core/json.h"
#include "med3d/pipeline/evaluation.h"
#include "med3d/pipeline/models.h"

namespace med3d::pipeline {

// Writes clinical_features.csv, wsi_features.csv and ct_mri_features.csv (patients that have the
// modality; columns ehr_0.., wsi_0.., ctmri_0..; where CT and MRI vectors differ in width,
// ct_features.csv and mri_features.csv instead) and, last of all, final.json with the rest.
void write_final_artefacts(const std::filesystem::path& run_folder,
                           const Cohort& cohort,
                           const RunSettings& settings,
                           const std::vector<ModelSpec>& specs,
                           const FittedModels& models,
                           const Partition& partition);

// SHA-256 of each of these files and of the bundle's that is there, by its path in the folder.
Json final_artefact_hashes(const std::filesystem::path& run_folder);

// Removes those files.
void remove_final_artefacts(const std::filesystem::path& run_folder);

// The "umap" section of report.json: two dimensions of a hidden layer of the final fit; a point is
// correct or not by its held-out prediction (cross-validation or test), never by the fit itself.
Json umap_json(const Json& final_artefacts, const EvaluationContext& context);

}  // namespace med3d::pipeline
