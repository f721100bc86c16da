#include <gtest/gtest.h>

#include <algorithm>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <filesystem>
#include <fstream>

#include "med3d/core/case_id.h"
#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/hash.h"
#include "med3d/core/json.h"
#include "med3d/core/limits.h"
#include "med3d/core/matrix.h"
#include "med3d/core/on_demand.h"
#include "med3d/core/parallel.h"
#include "med3d/core/progress.h"
#include "med3d/core/random.h"
#include "med3d/core/text.h"

namespace med3d {
namespace {

namespace fs = std::filesystem;

fs::path scratch(const std::string& name) {
  const fs::path folder = fs::path(testing::TempDir()) / ("med3d-core-" + name);
  fs::remove_all(folder);
  fs::create_directories(folder);
  return folder;
}

TEST(ConsoleProgress, DoesNotCallAStepDoneThatAnErrorEnded) {
  testing::internal::CaptureStderr();
  try {
    const auto progress = make_console_progress();
    progress->start("reading", 0);
    throw Error(ErrorKind::kIo, "a full disk");
  } catch (const Error&) {
  }
  {
    const auto progress = make_console_progress();
    progress->start("writing", 0);
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "reading: stopped after 0s\nwriting: done in 0s\n");
}

TEST(Sha256, MatchesTheStandardsVectors) {
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_hex(std::string(1'000'000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

// Lengths around the block of 64 bytes and the 56 at which the length no longer fits.
TEST(Sha256, DoesNotDependOnThePiecesTheBytesComeIn) {
  std::string bytes;
  for (int i = 0; i < 300; ++i) bytes += static_cast<char>(i * 7);
  for (std::size_t size = 0; size <= bytes.size(); ++size) {
    Sha256 hash;
    for (std::size_t at = 0; at < size; at += 7) {
      hash.update(bytes.data() + at, std::min<std::size_t>(7, size - at));
    }
    ASSERT_EQ(hash.hex(), sha256_hex(std::string_view(bytes).substr(0, size))) << size;
  }
}

// numpy.random.RandomState(42).random_sample(3), .RandomState(0).randint(0, 10, 5) and
// .RandomState(1).standard_normal(3), .RandomState(42).permutation(5).
TEST(NumpyRandom, DrawsWhatNumpyDraws) {
  NumpyRandom uniform(42);
  EXPECT_DOUBLE_EQ(uniform.uniform(), 0.3745401188473625);
  EXPECT_DOUBLE_EQ(uniform.uniform(), 0.9507143064099162);
  EXPECT_DOUBLE_EQ(uniform.uniform(), 0.7319939418114051);
  NumpyRandom integers(0);
  for (const std::uint64_t expected : {5U, 0U, 3U, 3U, 7U}) EXPECT_EQ(integers.randint(10), expected);
  NumpyRandom normal(1);
  EXPECT_DOUBLE_EQ(normal.normal(), 1.6243453636632417);
  EXPECT_DOUBLE_EQ(normal.normal(), -0.6117564136500754);
  EXPECT_DOUBLE_EQ(normal.normal(), -0.5281717522634557);
  EXPECT_EQ(NumpyRandom(42).permutation(5), (std::vector<std::size_t>{1, 4, 2, 0, 3}));
}

TEST(DeriveSeed, DiffersByNameAndNumbersAndFitsInSixtyThreeBits) {
  EXPECT_NE(derive_seed(1, "clinical", {0}), derive_seed(1, "clinical", {1}));
  EXPECT_NE(derive_seed(1, "clinical", {0}), derive_seed(1, "wsi", {0}));
  EXPECT_NE(derive_seed(1, "clinical", {0, 1}), derive_seed(1, "clinical", {1, 0}));
  EXPECT_EQ(derive_seed(7, "x", {1, 2}), derive_seed(7, "x", {1, 2}));
  EXPECT_EQ(derive_seed(7, "x") >> 63, 0U);
}

TEST(ParallelFor, VisitsEachIndexOnceAtAnyThreadCount) {
  for (const int threads : {1, 2, 5}) {
    std::vector<std::atomic<int>> visits(100);
    parallel_for(visits.size(), threads, [&](std::size_t i) { ++visits[i]; });
    for (const auto& n : visits) EXPECT_EQ(n.load(), 1);
  }
}

TEST(ParallelFor, RethrowsTheErrorOfTheWork) {
  EXPECT_THROW(parallel_for(10, 2,
                            [](std::size_t i) {
                              if (i == 3) throw Error(ErrorKind::kData, "three");
                            }),
               Error);
}

TEST(Text, NumbersAreReadInFullOrNotAtAll) {
  EXPECT_EQ(parse_double(" 3.5 "), 3.5);
  EXPECT_EQ(parse_double("+2"), 2.0);
  EXPECT_FALSE(parse_double("3.5x"));
  EXPECT_FALSE(parse_double(""));
  EXPECT_FALSE(parse_double("1,5"));
  EXPECT_TRUE(std::isnan(*parse_double("NaN")));
  EXPECT_TRUE(std::isinf(*parse_double("1e400")));
}

TEST(Text, NumbersAreWrittenShortestAndReadBackTheSame) {
  EXPECT_EQ(format_double(0.1), "0.1");
  EXPECT_EQ(format_double(3.0), "3");
  EXPECT_EQ(*parse_double(format_double(1.0 / 3.0)), 1.0 / 3.0);
}

TEST(Text, NamesTheNearestKey) {
  const std::vector<std::string> keys = {"batch_size", "epochs", "seed"};
  EXPECT_EQ(did_you_mean("epoch", keys), " (did you mean 'epochs'?)");
  EXPECT_EQ(did_you_mean("batchsize", keys), " (did you mean 'batch_size'?)");
  EXPECT_EQ(did_you_mean("qqqqqq", keys), "");
}

TEST(File, ReplacesAFileAndLeavesNoTemporaryBehind) {
  const fs::path folder = scratch("atomic");
  write_file_atomic(folder / "a.txt", std::string_view("old"));
  write_file_atomic(folder / "a.txt", std::string_view("new"));
  EXPECT_EQ(read_file(folder / "a.txt", 100), "new");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder), {}), 1);
}

TEST(File, KeepsTheOldFileWhenTheWriterFails) {
  const fs::path folder = scratch("keeps");
  write_file_atomic(folder / "a.txt", std::string_view("old"));
  EXPECT_THROW(write_file_atomic(folder / "a.txt",
                                 [](const fs::path& temporary) {
                                   std::ofstream(temporary) << "half";
                                   throw Error(ErrorKind::kIo, "disk full");
                                 }),
               Error);
  EXPECT_EQ(read_file(folder / "a.txt", 100), "old");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder), {}), 1);
}

TEST(File, RefusesAFullDisk) {
  // /dev/full takes the open and refuses the write with ENOSPC; a file in it cannot be made at all.
  EXPECT_THROW(write_file_atomic("/dev/full/x/a.txt", std::string_view("x")), Error);
}

TEST(File, RefusesFoldersPipesAndOversizedFiles) {
  const fs::path folder = scratch("refuses");
  EXPECT_THROW(read_file(folder, 100), Error);
  EXPECT_THROW(read_file("/dev/null", 100), Error);
  EXPECT_THROW(read_file(folder / "missing", 100), Error);
  write_file_atomic(folder / "big", std::string(101, 'x'));
  EXPECT_THROW(read_file(folder / "big", 100), Error);
}

TEST(File, RemovesTemporariesOfDeadWritersOnly) {
  const fs::path folder = scratch("stale");
  std::ofstream(folder / ".a.csv.tmp-999999999-0badf00d") << "x";
  std::ofstream(folder / ("." + std::string("a.csv.tmp-") + std::to_string(::getpid()) + "-1")) << "x";
  std::ofstream(folder / "kept.csv") << "x";
  remove_stale_temporaries(folder);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder), {}), 2);
}

TEST(Limits, ArithmeticRefusesToWrap) {
  EXPECT_EQ(checked_multiply(1ULL << 31, 1ULL << 31, "x"), 1ULL << 62);
  EXPECT_THROW(checked_multiply(1ULL << 32, 1ULL << 32, "x"), Error);
  EXPECT_THROW(checked_add(~0ULL, 1, "x"), Error);
}

TEST(JsonText, IsDeterministicAndBoundsNesting) {
  EXPECT_EQ(dump_json(parse_json(R"({"b":1,"a":[0.1,null]})", "t")),
            "{\n  \"b\": 1,\n  \"a\": [\n    0.1,\n    null\n  ]\n}\n");
  EXPECT_THROW(parse_json(std::string(100, '['), "t"), Error);
  EXPECT_THROW(parse_json("{\"a\":", "t"), Error);
}

TEST(CaseId, ComesFromSlideScanAndFileNames) {
  EXPECT_EQ(case_id_of("TCGA-BP-4352-01Z-00-DX1.uuid.svs"), "TCGA-BP-4352");
  EXPECT_EQ(case_id_of("tcga-bp-4352"), "TCGA-BP-4352");
  EXPECT_EQ(case_id_of("C3L-00004-21.npz"), "C3L-00004");
  EXPECT_EQ(case_id_of(" patient 7 "), "patient 7");
  EXPECT_EQ(normalised_case_id("Patient_ 7"), normalised_case_id("patient-7"));
  EXPECT_EQ(source_of("C3N-01078"), "CPTAC");
  EXPECT_EQ(*site_of("TCGA-BP-4352"), "BP");
  EXPECT_FALSE(site_of("C3N-01078"));
}

TEST(SlideFacts, TellFrozenFromDiagnosticAndTumourFromNormal) {
  const auto diagnostic = slide_facts("TCGA-A3-3306-01Z-00-DX1");
  EXPECT_EQ(to_string(diagnostic.slide), "DX");
  EXPECT_EQ(to_string(diagnostic.sample), "tumour");
  const auto normal = slide_facts("TCGA-A3-3306-11A-01-TS1.npz");
  EXPECT_EQ(to_string(normal.slide), "TS");
  EXPECT_EQ(to_string(normal.sample), "normal");
  EXPECT_EQ(to_string(slide_facts("C3L-00004-21").slide), "unknown");
}

TEST(Matrix, TakesRowsInOrderWithRepeats) {
  Matrix<int> m(2, 2);
  m(0, 0) = 1;
  m(1, 1) = 4;
  const auto taken = m.take_rows(std::vector<int>{1, 1, 0});
  EXPECT_EQ(taken.rows(), 3U);
  EXPECT_EQ(taken(0, 1), 4);
  EXPECT_EQ(taken(2, 0), 1);
}

TEST(OnDemandLibrary, GivesTheAddressOfItsFunctions) {
  static int opened = 0;
  OnDemandLibrary library = {"libz.so.1", "/nowhere", [](void*) { ++opened; }};
  const auto crc32 = reinterpret_cast<unsigned long (*)(unsigned long, const char*, unsigned)>(
      open_on_demand(library, "crc32"));
  EXPECT_EQ(crc32(0, "123456789", 9), 0xCBF43926UL);  // the check value of CRC-32
  EXPECT_NE(open_on_demand(library, "adler32"), nullptr);
  EXPECT_EQ(opened, 1);
}

TEST(OnDemandLibrary, NamesWhatIsMissing) {
  const auto message = [](OnDemandLibrary& library) -> std::string {
    try {
      open_on_demand(library, "no_such_function");
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kNotFound);
      return error.what();
    }
    return "nothing was thrown";
  };
  OnDemandLibrary absent = {"libmed3d_absent.so.9", "/nowhere/libmed3d_absent.so", nullptr};
  for (int again = 0; again < 2; ++again) {
    const std::string found = message(absent);
    EXPECT_TRUE(found.starts_with("the library libmed3d_absent.so.9 cannot be opened: ")) << found;
  }
  OnDemandLibrary without = {"libz.so.1", "/nowhere", nullptr};
  const std::string found = message(without);
  EXPECT_TRUE(found.starts_with("the library libz.so.1 has no function no_such_function, expected"))
      << found;
}

}  // namespace
}  // namespace med3d
