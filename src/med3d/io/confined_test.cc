#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <new>
#include <string>
#include <vector>

#include "med3d/io/confined_internal.h"
#include "med3d/io/test_support.inc"

namespace med3d {
namespace {

using namespace testing_io;

ConfinedOptions options() {
  ConfinedOptions out;
  out.library = "the library";
  return out;
}

void expect_child_error(ErrorKind kind,
                        std::string_view message,
                        const std::function<void(const ConfinedSender&)>& work,
                        const ConfinedOptions& with = options()) {
  expect_error(kind, message, [&] {
    ConfinedChild child("x.h5", with, work);
    child.wait_for_result();
    child.number();
  });
}

TEST(Confined, BringsAnAnswerLargerThanThePipe) {
  const std::string large(1U << 20U, 'x');
  ConfinedChild child("x.h5", options(), [&](const ConfinedSender& out) {
    out.result();
    out.number(42);
    out.text(large);
  });
  child.wait_for_result();
  EXPECT_EQ(child.number(), 42U);
  EXPECT_EQ(child.text(large.size()), large);
}

TEST(Confined, NamesTheSignalOfACrash) {
  expect_child_error(ErrorKind::kFormat,
                     "x.h5: the library crashed on it (signal 11)",
                     [](const ConfinedSender&) { ::raise(SIGSEGV); });
  // In the middle of an answer as well.
  expect_child_error(ErrorKind::kFormat,
                     "x.h5: the library crashed on it (signal 6)",
                     [](const ConfinedSender& out) {
                       out.result();
                       ::abort();
                     });
}

TEST(Confined, HandsOnErrorsWithTheirKind) {
  expect_child_error(ErrorKind::kUnsupported, "x.h5: a link", [](const ConfinedSender&) {
    throw Error(ErrorKind::kUnsupported, "a link");
  });
  expect_child_error(ErrorKind::kFormat, "x.h5: other", [](const ConfinedSender&) {
    throw std::runtime_error("other");
  });
}

TEST(Confined, EndsAChildThatTakesTooLong) {
  ConfinedOptions processor = options();
  processor.processor_time = std::chrono::seconds(1);
  expect_child_error(
      ErrorKind::kFormat,
      "more than 1 seconds of processor time",
      [](const ConfinedSender&) {
        while (::getpid() > 0) {
        }
      },
      processor);
  ConfinedOptions wall = options();
  wall.wall_time = std::chrono::seconds(1);
  expect_child_error(
      ErrorKind::kFormat,
      "reading it took more than 1 seconds",
      [](const ConfinedSender&) { ::sleep(100); },
      wall);
}

TEST(Confined, BoundsTheMemoryOfTheChild) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "the address sanitizer ends the process itself where new would throw";
#endif
  expect_child_error(ErrorKind::kFormat, "more memory than a file of its size", [](const auto&) {
    // The address space, not the memory, is what runs out: nothing is touched.
    std::vector<void*> kept;
    for (int i = 0; i < 64; ++i) kept.push_back(::operator new(64U << 20U));
  });
}

TEST(Confined, LetsTheChildWriteNoFile) {
  const TemporaryFolder folder;
  const auto path = folder / "out";
  expect_child_error(ErrorKind::kFormat, "crashed on it (signal 25)", [&](const ConfinedSender&) {
    std::ofstream(path) << "x" << std::flush;  // SIGXFSZ
  });
  EXPECT_EQ(std::filesystem::file_size(path), 0U);
}

TEST(Confined, ChecksWhatTheChildSays) {
  expect_child_error(ErrorKind::kFormat,
                     "the library ended on it without an answer",
                     [](const ConfinedSender&) {});
  expect_child_error(
      ErrorKind::kFormat, "answered nonsense", [](const ConfinedSender& out) { out.number(1); });
  expect_error(ErrorKind::kFormat, "answered nonsense", [] {
    ConfinedChild child("x.h5", options(), [](const ConfinedSender& out) {
      out.result();
      out.number(~std::uint64_t{0});  // the length of a text
    });
    child.wait_for_result();
    child.text(100);
  });
}

}  // namespace
}  // namespace med3d
