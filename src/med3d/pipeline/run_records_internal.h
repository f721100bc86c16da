// An item's record as text, and the files under .records that a lost registry is made from.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "med3d/pipeline/run_store.h"

namespace med3d::pipeline {

// One line of JSON, and its SHA-256, by which a record that was damaged is told from a whole one.
struct RecordText {
  std::string text;
  std::string sha256;
};
RecordText encode_record(const ItemRecord& record);
// Throws Error(kFormat) if text and hash do not belong together or a member is missing or odd.
ItemRecord decode_record(const RecordText& encoded);

// A name that a record may point to: relative, without "..", not empty.
bool is_inside(const std::filesystem::path& path);

// folder/.records/<hash of stage>/<hash of item>.json: names from outside never become file names.
std::filesystem::path record_path(const std::filesystem::path& folder,
                                  const std::string& stage,
                                  const std::string& item);

// Atomic; throws Error(kIo).
void write_record(const std::filesystem::path& folder, const ItemRecord& record);
void remove_record(const std::filesystem::path& folder,
                   const std::string& stage,
                   const std::string& item);

// Calls `take` with each whole record under folder/.records; in order of path. Returns how many
// files were there but could not be used.
std::size_t for_each_record(const std::filesystem::path& folder,
                            const std::function<void(const ItemRecord&)>& take);
bool has_records(const std::filesystem::path& folder);

}  // namespace med3d::pipeline
