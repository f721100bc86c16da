// The model card of a run's bundle: model_card.md for people, with the front matter that Hugging
// Face reads, and card.json with the keys of MONAI's metadata.json.
//
// Both say what the bundle predicts, from which data, how well (each figure with its n, its events
// and its interval), what it is not for, which encoders made its vectors and whether these were
// trained, and that it is no medical device. They hold no path, no host and no time: the same run
// gives the same bytes. What only people know is left to the author by name.
//
// Front matter: license, license_name, library_name, pipeline_tag, tags, datasets, metrics and
// model-index (value as a number; n, events and interval in the metric's name, for which the format
// has no field). No language: the model reads none.
//
// Sources: https://huggingface.co/docs/hub/model-cards; Mitchell et al., FAT* 2019 (what a card
// says); MONAI bundle specification (metadata.json).
#pragma once

#include <filesystem>
#include <string>

#include "med3d/core/json.h"
#include "med3d/pipeline/cohort.h"
#include "med3d/pipeline/run_settings.h"

namespace med3d::pipeline {

struct ModelCard {
  std::string markdown;
  Json json;
};

// `report` is report.json as far as it is made: endpoint, banners, cohort, models, best, probast.
ModelCard model_card(const Json& report, const Cohort& cohort, const RunSettings& settings);

// Which encoders made a modality's vectors, by the records that `slide features` and `volume
// features` leave beside them: [{"modality", "encoders": [{"name", "trained"}]}], empty lists where
// no record says. Unreadable records are passed over.
Json encoders_json(const CohortSettings& settings);

// model/model_card.md and model/card.json.
void write_model_card(const std::filesystem::path& model_folder, const ModelCard& card);

}  // namespace med3d::pipeline
