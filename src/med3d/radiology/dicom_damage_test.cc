// Damaged files: cut at many points, and with flipped bits. Each must end in a volume that stands
// for what is there, or in an Error with a name: no crash, no hang, nothing filled up, no memory
// that a header merely claims.
//
// MED3D_DAMAGE=100 runs 1,000 cuts and 10,000 flips of each file (minutes), a smaller number that
// share of them in percent; without it there are a few.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <map>
#include <optional>
#include <set>
#include <sstream>

#include "med3d/core/random.h"
#include "med3d/radiology/dicom_series.h"
#include "med3d/radiology/test_dicom.inc"
#include "med3d/radiology/test_support.inc"

namespace med3d {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kCanary = "CANARY";
constexpr std::uintmax_t kLargestReal = 700'000;

// Percent of the full scale that were asked for; 0 = none.
std::size_t scale() {
  const char* asked = std::getenv("MED3D_DAMAGE");
  return asked != nullptr ? std::strtoul(asked, nullptr, 10) : 0;
}
std::size_t cuts_of(std::size_t few) { return scale() > 0 ? 10 * scale() : few; }
std::size_t flips_of(std::size_t few) { return scale() > 0 ? 100 * scale() : few; }

double peak_mib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024.0;
}

struct Outcome {
  std::optional<Volume> volume;
  std::string reason;
};

class Damage {
 public:
  explicit Damage(const std::string& name) : folder_("damage_" + name) {}

  Outcome load(const std::string& bytes) {
    const fs::path file = folder_.write(std::to_string(count_++) + ".dcm", bytes);
    Outcome out;
    const auto start = std::chrono::steady_clock::now();
    try {
      out.volume = load_series({&file, 1}).volume;
    } catch (const Error& error) {
      out.reason = error.what();
      EXPECT_FALSE(out.reason.empty());
      EXPECT_EQ(out.reason.find(kCanary), std::string::npos) << out.reason;
      // The number of a file, a place, and what is wrong: kinds of messages, without their numbers.
      std::string kind = out.reason;
      std::erase_if(kind, [](char c) { return c >= '0' && c <= '9'; });
      kinds_.insert(kind);
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    slowest_ = std::max(slowest_, took.count());
    ++(out.volume ? loaded_ : refused_);
    fs::remove(file);
    return out;
  }

  // Every cut is refused, or leaves all that the volume is made of.
  void cut(const std::string& whole, const Volume& expected, std::size_t points) {
    const std::size_t step = std::max<std::size_t>(1, whole.size() / points);
    for (std::size_t size = 0; size < whole.size(); size += step) {
      const Outcome found = load(whole.substr(0, size));
      if (found.volume) {
        EXPECT_EQ(found.volume->size, expected.size) << "cut at " << size;
        EXPECT_EQ(found.volume->voxels, expected.voxels) << "cut at " << size;
      }
    }
  }

  void flip(const std::string& whole, std::size_t flips) {
    NumpyRandom random(7);
    for (std::size_t i = 0; i < flips; ++i) {
      std::string bytes = whole;
      const auto bit =
          static_cast<std::size_t>(random.uniform() * static_cast<double>(8 * bytes.size()));
      bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
      const Outcome found = load(bytes);
      if (!found.volume) continue;
      const auto& size = found.volume->size;
      ASSERT_EQ(found.volume->voxels.size(), static_cast<std::size_t>(size[0] * size[1] * size[2]));
      for (const float voxel : found.volume->voxels) ASSERT_TRUE(std::isfinite(voxel));
    }
  }

  std::string summary(std::string_view what) const {
    std::ostringstream out;
    out << what << ": " << count_ << " damaged, " << refused_ << " refused for " << kinds_.size()
        << " reasons, " << loaded_ << " read, slowest " << slowest_ << " s, peak " << peak_mib()
        << " MiB\n";
    return out.str();
  }

 private:
  TestFolder folder_;
  std::size_t count_ = 0;
  std::size_t loaded_ = 0;
  std::size_t refused_ = 0;
  double slowest_ = 0.0;
  std::set<std::string> kinds_;
};

void damage(const std::string& name,
            const std::string& whole,
            std::size_t cuts,
            std::size_t flips) {
  Damage work(name);
  const Outcome expected = work.load(whole);
  ASSERT_TRUE(expected.volume) << name << ": " << expected.reason;
  const double before = peak_mib();
  work.cut(whole, *expected.volume, cuts);
  work.flip(whole, flips);
  // Ten times what the file and its volume need, and what allocators and sanitizers keep.
  const double needed = static_cast<double>(whole.size() + 4 * expected.volume->voxels.size());
  EXPECT_LT(peak_mib() - before, 10.0 * needed / (1 << 20) + 192.0) << name;
  if (scale() > 0) std::cout << work.summary(name);
}

TestSlice named_slice() {
  TestSlice slice;
  slice.extra_low = element(0x00100010, "PN", std::string(kCanary)) +
                    element(0x00100020, "LO", std::string(kCanary));
  return slice;
}

// Two byte planes, each of one run of literals: the high bytes 0, the low ones 1 to 6.
std::string rle_frame() {
  std::string out = little(2, 4) + little(64, 4) + little(66, 4);
  out.resize(64, '\0');
  out += std::string("\xFB\x00", 2);                      // 6 times 0
  out += std::string("\x05\x01\x02\x03\x04\x05\x06", 7);  // 6 as they are
  return out;
}

TEST(DamagedDicom, NativeFilesEndInAVolumeOrAReason) {
  damage("native", named_slice().bytes(), cuts_of(1000), flips_of(400));
}

TEST(DamagedDicom, RunLengthFilesEndInAVolumeOrAReason) {
  TestSlice slice = named_slice();
  slice.syntax = "1.2.840.10008.1.2.5";
  slice.pixels = encapsulated({rle_frame()});
  damage("rle", slice.bytes(), cuts_of(1000), flips_of(400));
}

// The smallest file of each transfer syntax there is.
TEST(DamagedDicom, RealFilesEndInAVolumeOrAReason) {
  const auto folder = test_data("dicom");
  MED3D_NEEDS_DATA(folder);
  std::map<std::string, fs::path> smallest;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file() || entry.file_size() > kLargestReal) continue;
    try {
      const fs::path path = entry.path();
      const SeriesInfo info = inspect_series({&path, 1});
      load_series({&path, 1});
      fs::path& best = smallest[info.transfer_syntaxes.front()];
      if (best.empty() ||
          std::pair(fs::file_size(path), path) < std::pair(fs::file_size(best), best)) {
        best = path;
      }
    } catch (const Error&) {
      continue;  // what cannot be read whole has nothing to lose
    }
  }
  ASSERT_GE(smallest.size(), 5U);
  for (const auto& [syntax, path] : smallest) {
    std::ifstream file(path, std::ios::binary);
    const std::string whole((std::istreambuf_iterator<char>(file)), {});
    std::string name = syntax;
    std::ranges::replace(name, ' ', '_');
    damage(name, whole, cuts_of(8), flips_of(12));
  }
}

}  // namespace
}  // namespace med3d
