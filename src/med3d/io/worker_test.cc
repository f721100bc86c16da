// Workers that misbehave in every way a decoder could. This file has the main() of all tests of the
// module: the worker is this program.
#include "med3d/io/worker.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "med3d/core/limits.h"
#include "med3d/io/test_support.inc"

namespace med3d {
namespace {

using testing_io::expect_error;
using testing_io::TemporaryFolder;

// What a call gives that should be refused: its errno, 0 if it went through.
int errno_of(long result) { return result < 0 ? errno : 0; }

// The deeds of a decoder that a file has taken over, by name. Each is given one text.
using Deed = std::function<void(const std::string&, std::span<std::uint8_t>, MessageWriter&)>;

const std::map<std::string, Deed>& deeds() {
  static const std::map<std::string, Deed> all = {
      {"echo", [](auto& text, auto, auto& out) { out.text(text); }},
      {"pid", [](auto&, auto, auto& out) { out.value(::getpid()); }},
      {"limits", [](auto&, auto, auto& out) { out.value(limits().tile_bytes); }},
      {"folder",
       [](auto&, auto, auto& out) { out.text(std::filesystem::current_path().string()); }},
      {"variable",
       [](auto& text, auto, auto& out) {
         const char* value = std::getenv(text.c_str());
         out.text(value == nullptr ? "not there" : value);
       }},
      {"fill",
       [](auto&, auto shared, auto&) {
         for (std::size_t i = 0; i < shared.size(); ++i) shared[i] = static_cast<std::uint8_t>(i);
       }},
      {"read",
       [](auto& path, auto, auto& out) {
         std::ifstream in(path);
         std::string line;
         std::getline(in, line);
         out.text(line);
       }},
      {"refuse", [](auto&, auto, auto&) { throw Error(ErrorKind::kUnsupported, "not this one"); }},
      {"spoil", [](auto&, auto, auto&) { throw Error(ErrorKind::kFormat, "tile 3 is damaged"); }},
      {"segfault", [](auto&, auto, auto&) { ::raise(SIGSEGV); }},
      {"abort", [](auto&, auto, auto&) { ::abort(); }},
      {"exit", [](auto&, auto, auto&) { ::_exit(0); }},
      {"hang",
       [](auto&, auto, auto&) {
         for (;;) ::pause(), ::sleep(1);
       }},
      {"spin",
       [](auto&, auto, auto&) {
         while (::getppid() > 0) {
         }
       }},
      {"eat",
       [](auto&, auto, auto&) {
         std::vector<std::string> eaten;
         for (;;) eaten.emplace_back(16U << 20U, 'x');
       }},
      // Closes its socket and lives on.
      {"go-quiet",
       [](auto&, auto, auto&) {
         ::close(3);
         for (;;) ::sleep(1);
       }},
      {"babble",
       [](auto&, auto, auto&) {
         const std::string nonsense(100, 'n');
         if (::write(3, nonsense.data(), nonsense.size()) < 0) ::_exit(1);
         for (;;) ::sleep(1);
       }},
      {"open-to-write",
       [](auto& path, auto, auto& out) {
         out.value(errno_of(::open(path.c_str(), O_WRONLY | O_CREAT, 0600)));
         out.value(errno_of(::syscall(SYS_openat, AT_FDCWD, path.c_str(), O_RDWR | O_CREAT, 0600)));
         out.value(errno_of(::unlink(path.c_str())));
         out.value(errno_of(::truncate(path.c_str(), 0)));
         out.value(errno_of(::mkdir((path + ".d").c_str(), 0700)));
       }},
      {"connect",
       [](auto&, auto, auto& out) {
         out.value(errno_of(::socket(AF_INET, SOCK_STREAM, 0)));
         out.value(errno_of(::socket(AF_UNIX, SOCK_STREAM, 0)));
         int ends[2];
         out.value(errno_of(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends)));
       }},
      {"start-programs",
       [](auto&, auto, auto& out) {
         char name[] = "/bin/true";
         char* argv[] = {name, nullptr};
         out.value(errno_of(::execve(name, argv, argv)));
         out.value(errno_of(::fork()));
         pid_t pid = -1;
         out.value(::posix_spawn(&pid, name, nullptr, nullptr, argv, argv));
       }},
      {"reach-out",
       [](auto&, auto, auto& out) {
         out.value(errno_of(::kill(::getppid(), SIGTERM)));
         out.value(errno_of(::syscall(SYS_ptrace, 16 /* PTRACE_ATTACH */, ::getppid(), 0, 0)));
         out.value(errno_of(::syscall(SYS_io_uring_setup, 1, nullptr)));
         out.value(errno_of(::fcntl(4, F_SETFL, 0)));
         rlimit more{};
         more.rlim_cur = more.rlim_max = RLIM_INFINITY;
         out.value(errno_of(::setrlimit(RLIMIT_CPU, &more)));
       }},
      {"use-threads",
       [](auto&, auto, auto& out) {
         int sum = 0;
         std::thread([&] { sum = 42; }).join();
         out.value(sum);
       }},
      {"descriptors",
       [](auto&, auto, auto& out) {
         int open = 0;
         for (int fd = 0; fd < 1024; ++fd) open += ::fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
         out.value(open);
       }},
  };
  return all;
}

class HostileSession : public WorkerSession {
 public:
  void serve(MessageReader& request,
             std::span<std::uint8_t> shared,
             MessageWriter& answer) override {
    const std::string name = request.text();
    deeds().at(name)(request.text(), shared, answer);
  }
};

const WorkerService kHostile = {
    "hostile", [] { return std::unique_ptr<WorkerSession>(std::make_unique<HostileSession>()); }};

MessageWriter deed(std::string_view name, std::string_view text = "") {
  return MessageWriter().text(name).text(text);
}

std::unique_ptr<IsolatedSession> session() { return IsolatedSession::start("hostile", "x.svs"); }

pid_t pid_of(IsolatedSession& asked) {
  const std::string answer = asked.call(deed("pid"));
  return MessageReader(answer).value<pid_t>();
}

// Each value of an answer of numbers.
std::vector<int> numbers(const std::string& answer) {
  MessageReader reader(answer);
  std::vector<int> out;
  for (std::size_t i = 0; i < answer.size() / sizeof(int); ++i) out.push_back(reader.value<int>());
  return out;
}

class WorkerTest : public testing::Test {
 protected:
  void SetUp() override {
    set_isolation(Isolation::kOn);
    set_worker_program("/proc/self/exe");
  }
  void TearDown() override {
    set_limits({});
    set_isolation(Isolation::kAuto);
    set_worker_program("");
  }
};

TEST_F(WorkerTest, AnswersInAnotherProcess) {
  const auto asked = session();
  ASSERT_NE(asked, nullptr);
  EXPECT_NE(pid_of(*asked), ::getpid());
  const std::string large(3U << 20U, 'x');  // more than a socket holds, both ways
  const std::string answer = asked->call(deed("echo", large));
  EXPECT_EQ(MessageReader(answer).text(), large);
}

TEST_F(WorkerTest, SharesMemoryThatGrowsWithTheRequest) {
  const auto asked = session();
  for (const std::size_t size : {1ULL, 200'000ULL, 20ULL << 20U, 5ULL}) {
    asked->call(deed("fill"), size);
    ASSERT_GE(asked->shared().size(), size);
    for (const std::size_t i : {std::size_t{0}, size / 2, size - 1}) {
      EXPECT_EQ(asked->shared()[i], static_cast<std::uint8_t>(i));
    }
  }
  expect_error(
      ErrorKind::kUsage, "x.svs: ", [&] { asked->call(deed("fill"), limits().worker_bytes + 1); });
}

TEST_F(WorkerTest, KnowsTheLimitsAndTheFolderOfItsParent) {
  Limits tight;
  tight.tile_bytes = 1234;
  set_limits(tight);
  const TemporaryFolder folder;
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(folder / ".");
  const auto asked = session();
  std::filesystem::current_path(before);
  const std::string bytes = asked->call(deed("limits"));
  EXPECT_EQ(MessageReader(bytes).value<std::uint64_t>(), 1234U);
  const std::string path = asked->call(deed("folder"));
  EXPECT_EQ(MessageReader(path).text(), std::filesystem::canonical(folder / ".").string());
}

TEST_F(WorkerTest, GetsNoneOfOurKeysAndDescriptors) {
  ::setenv("MED3D_TEST_TOKEN", "secret", 1);
  const int open = ::open("/dev/null", O_RDONLY);  // without O_CLOEXEC
  const auto asked = session();
  const std::string answer = asked->call(deed("variable", "MED3D_TEST_TOKEN"));
  EXPECT_EQ(MessageReader(answer).text(), "not there");
  // Input, output, errors, the socket, the pipe.
  EXPECT_EQ(numbers(asked->call(deed("descriptors"))), std::vector<int>{5});
  ::close(open);
  ::unsetenv("MED3D_TEST_TOKEN");
}

TEST_F(WorkerTest, HandsOnErrorsWithTheirKind) {
  const auto asked = session();
  expect_error(ErrorKind::kUnsupported, "not this one", [&] { asked->call(deed("refuse")); });
  expect_error(ErrorKind::kFormat, "tile 3 is damaged", [&] { asked->call(deed("spoil")); });
  // It goes on with the same file.
  EXPECT_NO_THROW(asked->call(deed("echo")));
}

TEST_F(WorkerTest, IsUsedAgainButNotAfterADamagedFile) {
  auto asked = session();
  const pid_t first = pid_of(*asked);
  expect_error(ErrorKind::kUnsupported, "not this one", [&] { asked->call(deed("refuse")); });
  asked.reset();
  asked = session();
  EXPECT_EQ(pid_of(*asked), first);
  expect_error(ErrorKind::kFormat, "damaged", [&] { asked->call(deed("spoil")); });
  asked.reset();
  asked = session();
  EXPECT_NE(pid_of(*asked), first);
}

TEST_F(WorkerTest, NamesTheSignalOfACrashAndStartsAnotherForTheNext) {
  for (const auto& [name, signal] : {std::pair{"segfault", SIGSEGV}, {"abort", SIGABRT}}) {
    const auto asked = session();
    const std::string expected =
        "x.svs: the decoder crashed (signal " + std::to_string(signal) + ")";
    expect_error(ErrorKind::kFormat, expected, [&, n = name] { asked->call(deed(n)); });
    // The same for all that is asked of this file.
    expect_error(ErrorKind::kFormat, expected, [&] { asked->call(deed("echo")); });
    EXPECT_NO_THROW(session()->call(deed("echo")));
  }
  expect_error(ErrorKind::kFormat, "x.svs: the decoder ended without an answer", [] {
    session()->call(deed("exit"));
  });
}

TEST_F(WorkerTest, ReplacesOneThatWasKilledWhileItWaited) {
  auto asked = session();
  const pid_t first = pid_of(*asked);
  asked.reset();
  ::kill(first, SIGKILL);
  // Dead, but not collected: that is for its owner.
  siginfo_t info{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(first), &info, WEXITED | WNOWAIT), 0);
  asked = session();
  EXPECT_NE(pid_of(*asked), first);
}

TEST_F(WorkerTest, LeavesOutTheFileWhereItMayNotBeNamed) {
  try {
    IsolatedSession::start("hostile", "")->call(deed("abort"));
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "the decoder crashed (signal 6)");
  }
}

TEST_F(WorkerTest, IsEndedWhenItTakesTooLong) {
  Limits quick;
  quick.worker_wall_seconds = 1;
  set_limits(quick);
  expect_error(ErrorKind::kFormat, "x.svs: the decoder gave no answer within 1 seconds", [] {
    session()->call(deed("hang"));
  });
  quick.worker_wall_seconds = 60;
  quick.worker_cpu_seconds = 1;
  set_limits(quick);
  expect_error(ErrorKind::kFormat,
               "x.svs: the decoder took more than 1 seconds of processor time",
               [] { session()->call(deed("spin")); });
}

TEST_F(WorkerTest, HasBoundedMemory) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "the address sanitizer ends the process itself where new would throw";
#endif
  Limits small;
  small.worker_bytes = 128ULL << 20U;
  set_limits(small);
  const auto asked = session();
  expect_error(ErrorKind::kFormat, "it asks for more than the 128 MiB of memory", [&] {
    asked->call(deed("eat"));
  });
  EXPECT_NO_THROW(asked->call(deed("echo")));
}

TEST_F(WorkerTest, MayBabbleAndGoQuiet) {
  for (const char* name : {"babble", "go-quiet"}) {
    expect_error(ErrorKind::kFormat,
                 "x.svs: the decoder was damaged by it and answered nonsense",
                 [&] { session()->call(deed(name)); });
  }
}

TEST_F(WorkerTest, ReadsFilesAndUsesThreads) {
  const auto asked = session();
  const std::string answer = asked->call(deed("read", "/proc/self/comm"));
  EXPECT_FALSE(MessageReader(answer).text().empty());
  EXPECT_EQ(numbers(asked->call(deed("use-threads"))), std::vector<int>{42});
}

TEST_F(WorkerTest, CannotWriteConnectStartProgramsOrReachOut) {
  if (!isolation().filtered) GTEST_SKIP() << "NO FILTER OF SYSTEM CALLS: " << isolation().reason;
  const TemporaryFolder folder;
  const auto path = folder / "file";
  std::ofstream(path) << "kept";
  const auto asked = session();
  EXPECT_EQ(numbers(asked->call(deed("open-to-write", path.string()))), std::vector<int>(5, EPERM));
  EXPECT_EQ(std::filesystem::file_size(path), 4U);
  EXPECT_EQ(numbers(asked->call(deed("connect"))), std::vector<int>(3, EPERM));
  EXPECT_EQ(numbers(asked->call(deed("start-programs"))), std::vector<int>(3, EPERM));
  EXPECT_EQ(numbers(asked->call(deed("reach-out"))), std::vector<int>(5, EPERM));
}

// Also in the middle of work, and without one of our own signals: the kernel does it.
TEST_F(WorkerTest, EndsWithItsParentHoweverThatEnds) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const pid_t parent = ::fork();
  if (parent == 0) {
    // A copy of this process has no workers of its own yet and starts one.
    auto asked = session();
    const pid_t worker = pid_of(*asked);
    if (::write(ends[1], &worker, sizeof(worker)) < 0) ::_exit(1);
    try {
      asked->call(deed("spin"));
    } catch (...) {
    }
    ::_exit(0);
  }
  ::close(ends[1]);
  pid_t worker = -1;
  ASSERT_EQ(::read(ends[0], &worker, sizeof(worker)), static_cast<ssize_t>(sizeof(worker)));
  ::close(ends[0]);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_EQ(::kill(worker, 0), 0);
  ::kill(parent, SIGKILL);
  ::waitpid(parent, nullptr, 0);
  // It is not our child: whoever inherits it collects it, which may take a moment.
  const auto gone = [&] {
    std::ifstream stat("/proc/" + std::to_string(worker) + "/stat");
    std::string text;
    std::getline(stat, text);
    const auto at = text.rfind(')');
    return text.empty() || (at != std::string::npos && text.substr(at + 2, 1) == "Z");
  };
  for (int i = 0; i < 500 && !gone(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_TRUE(gone());
}

TEST_F(WorkerTest, OutlivesTheThreadThatStartedIt) {
  std::unique_ptr<IsolatedSession> asked;
  std::thread([&] { asked = session(); }).join();
  EXPECT_NO_THROW(asked->call(deed("echo")));
}

TEST_F(WorkerTest, ServesManyThreads) {
  std::vector<std::thread> threads;
  std::array<int, 4> good{};
  for (std::size_t t = 0; t < good.size(); ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 20; ++i) {
        const std::string text = std::to_string(t) + "-" + std::to_string(i);
        const std::string answer = session()->call(deed("echo", text));
        good[t] += MessageReader(answer).text() == text ? 1 : 0;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(good, (std::array<int, 4>{20, 20, 20, 20}));
}

TEST_F(WorkerTest, IsNotUsedWhereSwitchedOff) {
  set_isolation(Isolation::kOff);
  EXPECT_EQ(session(), nullptr);
  EXPECT_FALSE(isolation().active);
  EXPECT_EQ(isolation().reason, "it is switched off");
}

TEST_F(WorkerTest, SaysWhyThereIsNone) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "no program is named that serves as worker"},
      {"/no/such/program", "/no/such/program cannot be started: No such file"},
      {"/bin/true", "the worker did not start: "},
      {"/bin/cat", "the worker did not start: "},
  };
  for (const auto& [program, reason] : cases) {
    set_worker_program(program);
    set_isolation(Isolation::kAuto);
    EXPECT_EQ(session(), nullptr);
    EXPECT_FALSE(isolation().active);
    EXPECT_NE(isolation().reason.find(reason), std::string::npos) << isolation().reason;
    EXPECT_EQ(unisolated_because().empty(), std::string_view(program).empty());
    set_isolation(Isolation::kOn);
    expect_error(ErrorKind::kUnsupported, reason, [] { session(); });
  }
}

TEST_F(WorkerTest, SaysWhichServiceItLacks) {
  expect_error(ErrorKind::kUnsupported, "the worker cannot serve 'other'", [] {
    IsolatedSession::start("other", "x");
  });
}

TEST_F(WorkerTest, IsFilteredOnThisSystem) {
  const IsolationState state = isolation();
  EXPECT_TRUE(state.active);
  if (!state.filtered) GTEST_SKIP() << "NO FILTER OF SYSTEM CALLS: " << state.reason;
  EXPECT_EQ(state.reason, "");
}

TEST(Message, RefusesWhatIsCutShortOrTooLarge) {
  MessageWriter out;
  out.value(7).text("abc").maybe<double>(2.5).maybe<double>(std::nullopt).value(true);
  MessageReader in(out.bytes());
  EXPECT_EQ(in.value<int>(), 7);
  EXPECT_EQ(in.text(), "abc");
  EXPECT_EQ(in.maybe<double>(), 2.5);
  EXPECT_EQ(in.maybe<double>(), std::nullopt);
  EXPECT_TRUE(in.value<bool>());
  EXPECT_NO_THROW(in.end());
  for (std::size_t n = 0; n < out.bytes().size(); ++n) {
    MessageReader cut(std::string_view(out.bytes()).substr(0, n));
    EXPECT_THROW(
        {
          cut.value<int>();
          cut.text();
          cut.maybe<double>();
          cut.maybe<double>();
          cut.value<bool>();
        },
        Error);
  }
  const std::string huge = MessageWriter().value(~0ULL).bytes();
  EXPECT_THROW(MessageReader(huge).text(), Error);
  EXPECT_THROW(MessageReader(huge).count(10), Error);
  const std::string other = MessageWriter().value(99).bytes();
  EXPECT_THROW(MessageReader(other).choice(ErrorKind::kIo), Error);
  EXPECT_THROW(MessageReader(other).end(), Error);
}

}  // namespace
}  // namespace med3d

int main(int argc, char** argv) {
  constexpr std::array services = {&med3d::kHostile};
  if (const auto code = med3d::serve_as_worker(argc, argv, services)) return *code;
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
