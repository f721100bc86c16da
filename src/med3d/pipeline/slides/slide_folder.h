// The folder of a slide job: CLAM's layout, ours beside it.
//
//   process_list_autogen.csv     CLAM's list: parameters and status of each slide
//   masks/<id>.jpg               the slide with its tissue outlined
//   contact_sheets/page_<n>.jpg  all slides with their tissue outlined, those without it marked
//   stitches/<id>.jpg            its tiles alone
//   contours_geojson/<id>.geojson   outlines for QuPath
//   patches/<id>.h5              coordinates of its tiles
//   h5_files/<id>.h5             features and coordinates
//   safetensors_files/<id>.safetensors   features, if asked for
//   pt_files/<id>.pt             features, as torch.load takes them
//   outcomes.csv, outcomes.json  what became of each slide
//   slides/<id>.tiles.json       what its tiles were made of
//   slides/<id>.json             record of a finished slide: what it was made of, and its files
//   int8_scales.json             what an int8 encoder was calibrated to: with it a run is repeated
//   slides/.<id>.part            features of a slide that is being encoded
//   wsi_slide_features.csv, wsi_features.csv   one vector a slide, one a patient
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "med3d/pipeline/folder_lock.h"

namespace med3d::pipeline {

struct SlideFolder {
  std::filesystem::path root;

  std::filesystem::path process_list() const { return root / "process_list_autogen.csv"; }
  std::filesystem::path mask(const std::string& id) const { return root / "masks" / (id + ".jpg"); }
  std::filesystem::path contact_sheets() const { return root / "contact_sheets"; }
  std::filesystem::path stitch(const std::string& id) const {
    return root / "stitches" / (id + ".jpg");
  }
  std::filesystem::path contours(const std::string& id) const {
    return root / "contours_geojson" / (id + ".geojson");
  }
  std::filesystem::path patches() const { return root / "patches"; }
  std::filesystem::path tiles(const std::string& id) const { return patches() / (id + ".h5"); }
  std::filesystem::path features_h5(const std::string& id) const {
    return root / "h5_files" / (id + ".h5");
  }
  std::filesystem::path features_pt(const std::string& id) const {
    return root / "pt_files" / (id + ".pt");
  }
  std::filesystem::path tile_record(const std::string& id) const {
    return root / "slides" / (id + ".tiles.json");
  }
  std::filesystem::path features_safetensors(const std::string& id) const {
    return root / "safetensors_files" / (id + ".safetensors");
  }
  std::filesystem::path record(const std::string& id) const {
    return root / "slides" / (id + ".json");
  }
  std::filesystem::path int8_scales() const { return root / "int8_scales.json"; }
  std::filesystem::path partial(const std::string& id) const {
    return root / "slides" / ("." + id + ".part");
  }
  std::filesystem::path outcomes_csv() const { return root / "outcomes.csv"; }
  std::filesystem::path outcomes_json() const { return root / "outcomes.json"; }
  std::filesystem::path slide_vectors() const { return root / "wsi_slide_features.csv"; }
  std::filesystem::path patient_vectors() const { return root / "wsi_features.csv"; }

  // Makes the folder, removes what a killed job left half written in it, and keeps other processes
  // out for as long as the result lives. Throws as make_folder and FolderLock.
  std::unique_ptr<FolderLock> claim() const;
};

}  // namespace med3d::pipeline
