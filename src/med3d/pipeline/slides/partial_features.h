// Features of a slide that is still being encoded: an append-only file that a kill cannot spoil.
//
//   "med3d partial features 1\n" key "\n" dim "\n", then records of
//   length of the rest (u64) | first tile, tiles looked at (u64) | dropped (u8 a tile) |
//   embeddings (f32) | first 8 bytes of the SHA-256 of all before it
//
// A record is taken only whole and with its hash right; what follows the last such is cut off.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "med3d/core/matrix.h"

namespace med3d::pipeline {

// A stretch of tiles and what became of them.
struct FeatureBatch {
  std::uint64_t first = 0;            // index of its first tile
  std::vector<std::uint8_t> dropped;  // one a tile: 0 = kept, else why not (the caller's numbers)
  std::vector<float> embeddings;      // (kept, dim) in the order of the tiles
};

class PartialFeatures {
 public:
  // Opens or makes the file. One with another key or dim, or no such file at all, is begun anew.
  // Throws Error(kIo).
  PartialFeatures(std::filesystem::path path, const std::string& key, std::uint64_t dim);

  std::uint64_t tiles_done() const { return tiles_; }  // the next batch begins here
  std::uint64_t rows() const { return rows_; }         // kept so far

  // Throws Error(kUsage) unless batch.first == tiles_done() and its sizes fit; kIo (a full disk).
  void append(const FeatureBatch& batch);

  // Every record, in order. Throws Error(kIo).
  void read(const std::function<void(const FeatureBatch&)>& each) const;

  void remove();  // when the finished files are there

 private:
  std::filesystem::path path_;
  std::uint64_t dim_ = 0;
  std::uint64_t tiles_ = 0;
  std::uint64_t rows_ = 0;
  std::uint64_t begin_ = 0;  // of the first record
  std::uint64_t end_ = 0;    // of the last whole one
};

}  // namespace med3d::pipeline
