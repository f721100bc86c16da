// Decoded tiles that were used last, within a bound of memory.
#pragma once

#include <cstdint>
#include <list>
#include <unordered_map>
#include <utility>
#include <vector>

namespace med3d {

// A tile as RGB rows, or the knowledge that it is missing.
struct DecodedTile {
  std::int64_t width = 0;
  std::int64_t height = 0;
  bool is_missing = false;
  std::vector<std::uint8_t> rgb;
};

class TileCache {
 public:
  explicit TileCache(std::uint64_t max_bytes) : max_bytes_(max_bytes) {}

  const DecodedTile* find(std::uint64_t key) {
    const auto found = index_.find(key);
    if (found == index_.end()) return nullptr;
    entries_.splice(entries_.begin(), entries_, found->second);
    return &found->second->second;
  }

  // A tile to be filled and given to insert(): the memory of one that was dropped, if there is one
  // (a fresh one costs more in page faults than the copying of its pixels).
  DecodedTile take_spare() {
    DecodedTile tile = std::move(spare_);
    spare_ = {};
    return tile;
  }

  // Valid until the next insert() but one at the earliest: the newest tile is never dropped.
  const DecodedTile* insert(std::uint64_t key, DecodedTile tile) {
    bytes_ += cost(tile);
    entries_.emplace_front(key, std::move(tile));
    index_[key] = entries_.begin();
    while (bytes_ > max_bytes_ && entries_.size() > 1) {
      bytes_ -= cost(entries_.back().second);
      spare_ = std::move(entries_.back().second);
      index_.erase(entries_.back().first);
      entries_.pop_back();
    }
    return &entries_.front().second;
  }

  std::uint64_t bytes() const { return bytes_; }

 private:
  using Entry = std::pair<std::uint64_t, DecodedTile>;
  // Missing tiles cost nearly nothing, but not nothing: a slide may have millions.
  static std::uint64_t cost(const DecodedTile& tile) { return tile.rgb.size() + 256; }

  std::uint64_t max_bytes_;
  std::uint64_t bytes_ = 0;
  std::list<Entry> entries_;  // last used first
  std::unordered_map<std::uint64_t, std::list<Entry>::iterator> index_;
  DecodedTile spare_;
};

}  // namespace med3d
