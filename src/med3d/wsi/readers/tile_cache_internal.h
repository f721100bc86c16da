// Decoded tiles that were used last, within a bound of memory.
#pragma once

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <list>
#include <map>
#include <memory>
#include <new>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

namespace med3d {

// Memory for pieces of one size, taken in slabs that the kernel may map as huge pages: a walk over
// a slide fills the cache once, and fault by fault of 4 KiB that costs a tenth of the decoding.
class TileArena {
 public:
  explicit TileArena(std::size_t piece) : piece_(piece), slab_(slab_bytes(piece)) {}

  std::size_t slab() const { return slab_; }  // bytes of each
  std::size_t taken() const { return slabs_.size() * slab_; }
  bool has_free() const { return !free_.empty(); }
  bool is_unused() const { return free_.size() == slabs_.size() * (slab_ / piece_); }

  // Not initialised.
  std::uint8_t* take() {
    if (free_.empty()) grow();
    std::uint8_t* piece = free_.back();
    free_.pop_back();
    return piece;
  }
  void give(std::uint8_t* piece) { free_.push_back(piece); }

 private:
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  static constexpr std::size_t kHugePage = 2 << 20;

  static std::size_t slab_bytes(std::size_t piece) {
    return (piece + kHugePage - 1) / kHugePage * kHugePage;
  }

  void grow() {
    void* memory = std::aligned_alloc(kHugePage, slab_);
    if (memory == nullptr) throw std::bad_alloc();
    slabs_.emplace_back(memory);
    ::madvise(memory, slab_, MADV_HUGEPAGE);  // a wish: all goes well without
    free_.reserve(slabs_.size() * (slab_ / piece_));
    auto* at = static_cast<std::uint8_t*>(memory);
    for (std::size_t i = slab_ / piece_; i-- > 0;) free_.push_back(at + i * piece_);
  }

  std::size_t piece_;
  std::size_t slab_;
  std::vector<std::unique_ptr<void, Free>> slabs_;
  std::vector<std::uint8_t*> free_;
};

// The bytes of one tile, of an arena that outlives it.
class TileMemory {
 public:
  TileMemory() = default;
  TileMemory(TileArena& arena, std::size_t bytes)
      : arena_(&arena), data_(arena.take()), size_(bytes) {}
  TileMemory(TileMemory&& other) noexcept { swap(other); }
  TileMemory& operator=(TileMemory&& other) noexcept {
    TileMemory(std::move(other)).swap(*this);
    return *this;
  }
  ~TileMemory() {
    if (arena_ != nullptr) arena_->give(data_);
  }

  std::uint8_t* data() { return data_; }
  const std::uint8_t* data() const { return data_; }
  std::size_t size() const { return size_; }
  std::span<std::uint8_t> bytes() { return {data_, size_}; }

 private:
  void swap(TileMemory& other) noexcept {
    std::swap(arena_, other.arena_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
  }

  TileArena* arena_ = nullptr;
  std::uint8_t* data_ = nullptr;
  std::size_t size_ = 0;
};

// A tile as RGB rows, or the knowledge that it is missing.
struct DecodedTile {
  std::int64_t width = 0;
  std::int64_t height = 0;
  bool is_missing = false;
  TileMemory rgb;
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

  // Memory for a tile that is to be filled and given to insert(); tiles that were not used for
  // longest are dropped for it. Not initialised; bytes at least 1.
  TileMemory memory(std::size_t bytes) {
    TileArena& arena = arenas_.try_emplace(bytes, bytes).first->second;
    while (!arena.has_free() && taken() + arena.slab() > max_bytes_ && entries_.size() > 1) drop();
    if (!arena.has_free() && taken() + arena.slab() > max_bytes_) {
      // Tiles of other sizes held it all.
      std::erase_if(arenas_, [&](const auto& item) {
        return item.first != bytes && item.second.is_unused();
      });
    }
    return TileMemory(arena, bytes);
  }

  // Valid until the next insert() but one at the earliest: the newest tile is never dropped.
  const DecodedTile* insert(std::uint64_t key, DecodedTile tile) {
    bytes_ += cost(tile);
    entries_.emplace_front(key, std::move(tile));
    index_[key] = entries_.begin();
    while (bytes_ > max_bytes_ && entries_.size() > 1) drop();
    return &entries_.front().second;
  }

  std::uint64_t bytes() const { return bytes_; }

 private:
  using Entry = std::pair<std::uint64_t, DecodedTile>;
  // Missing tiles cost nearly nothing, but not nothing: a slide may have millions.
  static std::uint64_t cost(const DecodedTile& tile) { return tile.rgb.size() + 256; }

  std::uint64_t taken() const {
    std::uint64_t sum = 0;
    for (const auto& item : arenas_) sum += item.second.taken();
    return sum;
  }

  void drop() {
    bytes_ -= cost(entries_.back().second);
    index_.erase(entries_.back().first);
    entries_.pop_back();
  }

  std::uint64_t max_bytes_;
  std::uint64_t bytes_ = 0;
  std::map<std::size_t, TileArena> arenas_;  // by size of tile; before the tiles, which it outlives
  std::list<Entry> entries_;                 // last used first
  std::unordered_map<std::uint64_t, std::list<Entry>::iterator> index_;
};

}  // namespace med3d
