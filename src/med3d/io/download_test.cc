#include "med3d/io/download.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/hash.h"
#include "med3d/core/text.h"

namespace med3d {
namespace {

namespace fs = std::filesystem;

// tests/support/fault_server in a process of its own; it ends when its standard input is closed.
class FaultServer {
 public:
  explicit FaultServer(std::vector<std::string> arguments) {
    const char* source = std::getenv("MED3D_SOURCE_DIR");
    const fs::path script =
        fs::path(source != nullptr ? source : ".") / "tests/support/fault_server";
    arguments.insert(arguments.begin(), script.string());
    std::vector<char*> argv;
    for (auto& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    int input[2];
    int output[2];
    if (::pipe2(input, O_CLOEXEC) != 0 || ::pipe2(output, O_CLOEXEC) != 0) return;
    child_ = ::fork();
    if (child_ == 0) {
      ::dup2(input[0], STDIN_FILENO);
      ::dup2(output[1], STDOUT_FILENO);
      ::execv(argv[0], argv.data());
      ::_exit(127);
    }
    ::close(input[0]);
    ::close(output[1]);
    input_ = input[1];
    std::string line;
    char c = 0;
    while (::read(output[0], &c, 1) == 1 && c != '\n') line.push_back(c);
    ::close(output[0]);
    port_ = line;
  }
  ~FaultServer() {
    if (input_ >= 0) ::close(input_);
    if (child_ > 0) ::waitpid(child_, nullptr, 0);
  }
  FaultServer(const FaultServer&) = delete;
  FaultServer& operator=(const FaultServer&) = delete;

  const std::string& port() const { return port_; }  // "" if it could not be started

 private:
  pid_t child_ = -1;
  int input_ = -1;
  std::string port_;
};

class DownloadTest : public testing::Test {
 protected:
  void SetUp() override {
    if (std::system("command -v python3 > /dev/null") != 0) {
      GTEST_SKIP() << "NO python3: it runs tests/support/fault_server";
    }
    std::string name = (fs::temp_directory_path() / "med3d-download-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
    fs::create_directory(folder_ / "served");
    // 100,000 bytes in which no piece looks like another.
    for (int i = 0; body_.size() < 100'000; ++i) body_ += sha256_hex(std::to_string(i));
    body_.resize(100'000);
    write_file_atomic(folder_ / "served/w", body_);
    write_file_atomic(folder_ / "served/small", "tiny");
    start({});
  }
  void TearDown() override {
    server_.reset();
    std::error_code ignored;
    if (!folder_.empty()) fs::remove_all(folder_, ignored);
  }

  void start(std::vector<std::string> more) {
    std::vector<std::string> arguments = {"--folder",
                                          (folder_ / "served").string(),
                                          "--log",
                                          (folder_ / "log").string(),
                                          "--token",
                                          "s3cret"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    server_ = std::make_unique<FaultServer>(arguments);
    ASSERT_FALSE(server_->port().empty()) << "tests/support/fault_server did not start";
  }

  std::string url(const std::string& fault, const std::string& scheme = "http") const {
    return scheme + "://127.0.0.1:" + server_->port() + "/" + fault + "/w";
  }
  fs::path target() const { return folder_ / "out/w.pth"; }
  fs::path part() const { return folder_ / "out/.w.pth.part"; }
  std::string body() const { return read_file(target(), 1 << 20); }
  std::vector<std::string> log() const {
    auto lines = split(read_file(folder_ / "log", 1 << 20), '\n');
    lines.pop_back();
    return lines;
  }

  static DownloadOptions quick() {
    DownloadOptions options;
    options.first_wait_s = 0.001;
    options.most_wait_s = 0.01;
    options.stall_s = 1.0;
    return options;
  }

  // The message of the failure; it never holds the token, and nothing is in the file's place.
  std::string failure(ErrorKind kind, const std::string& address, const DownloadOptions& options) {
    std::string message = "no error";
    try {
      download(address, target(), options);
      ADD_FAILURE() << "no error for " << address;
    } catch (const Error& error) {
      message = error.what();
      EXPECT_EQ(error.kind(), kind) << message;
    }
    EXPECT_EQ(message.find("s3cret"), std::string::npos) << message;
    EXPECT_FALSE(fs::exists(target()));
    return message;
  }
  void fails(ErrorKind kind,
             const std::string& part_of_message,
             const std::string& fault,
             const DownloadOptions& options = quick()) {
    const std::string message = failure(kind, url(fault), options);
    EXPECT_NE(message.find(part_of_message), std::string::npos) << message;
  }

  fs::path folder_;
  std::string body_;
  std::unique_ptr<FaultServer> server_;
};

TEST_F(DownloadTest, FetchesAFileAndNamesItsHash) {
  DownloadOptions options = quick();
  options.sha256 = sha256_hex(body_);
  options.bytes = body_.size();
  std::string head;
  options.check_head = [&](std::string_view bytes) { head = bytes; };
  fs::path checked;
  options.check = [&](const fs::path& file) { checked = file; };
  const Download result = download(url("plain") + "?signature=x", target(), options);
  EXPECT_EQ(result.sha256, sha256_hex(body_));
  EXPECT_EQ(result.bytes, 100'000U);
  EXPECT_EQ(result.resumed_from, 0U);
  EXPECT_EQ(result.tries, 1);
  EXPECT_EQ(result.address, url("plain"));
  EXPECT_EQ(body(), body_);
  EXPECT_EQ(head, body_.substr(0, 64));
  EXPECT_EQ(checked, part());
  std::vector<std::string> left;
  for (const auto& entry : fs::directory_iterator(folder_ / "out")) {
    left.push_back(entry.path().filename().string());
  }
  EXPECT_EQ(left, std::vector<std::string>{"w.pth"});
}

TEST_F(DownloadTest, GoesOnAfterResetConnections) {
  const Download result = download(url("reset"), target(), quick());
  EXPECT_EQ(body(), body_);
  EXPECT_EQ(result.tries, 3);
  // Half of 100,000, then half of what was left.
  EXPECT_EQ(
      log(),
      (std::vector<std::string>{
          "/reset/w - - -", "/reset/w bytes=50000- \"v1\" -", "/reset/w bytes=75000- \"v1\" -"}));
}

TEST_F(DownloadTest, GoesOnWhereAnEarlierCallStopped) {
  DownloadOptions options = quick();
  options.tries = 1;
  fails(ErrorKind::kIo, "50000 bytes are kept, the next call goes on", "reset", options);
  EXPECT_EQ(partial_download_bytes(target()), 50'000U);
  options.tries = 2;
  const Download result = download(url("reset"), target(), options);
  EXPECT_EQ(body(), body_);
  EXPECT_EQ(result.resumed_from, 50'000U);
  EXPECT_EQ(result.sha256, sha256_hex(body_));
  EXPECT_EQ(partial_download_bytes(target()), 0U);
}

TEST_F(DownloadTest, DropsThePartOfAnotherAddress) {
  DownloadOptions options = quick();
  options.tries = 1;
  fails(ErrorKind::kIo, "50000 bytes are kept", "reset", options);
  const Download result = download(url("plain"), target(), options);
  EXPECT_EQ(result.resumed_from, 0U);
  EXPECT_EQ(log().back(), "/plain/w - - -");
  EXPECT_EQ(body(), body_);
}

TEST_F(DownloadTest, DropsAPartThatNothingTellsAbout) {
  fs::create_directory(folder_ / "out");
  write_file_atomic(part(), "some bytes");
  EXPECT_EQ(download(url("plain"), target(), quick()).resumed_from, 0U);
  EXPECT_EQ(body(), body_);
}

TEST_F(DownloadTest, StopsAfterTheLastTryAndKeepsWhatCame) {
  DownloadOptions options = quick();
  options.tries = 8;
  fails(ErrorKind::kIo, "(8 tries); 8000 bytes are kept", "reset-always", options);
  EXPECT_EQ(log().size(), 8U);
}

TEST_F(DownloadTest, NeverGluesTwoVersions) {
  for (const char* fault : {"changed", "glued"}) {
    const Download result = download(url(fault), target(), quick());
    EXPECT_EQ(body(), body_) << fault;
    EXPECT_EQ(result.sha256, sha256_hex(body_)) << fault;
    EXPECT_EQ(result.tries, std::string(fault) == "glued" ? 3 : 2);
  }
}

TEST_F(DownloadTest, BeginsAnewWhereNoVersionIsNamedAndNoHashKnown) {
  download(url("unversioned"), target(), quick());
  EXPECT_EQ(body(), body_);
  EXPECT_EQ(log().back(), "/unversioned/w - - -");
}

TEST_F(DownloadTest, BeginsAnewWhenGluedPiecesHaveTheWrongHash) {
  DownloadOptions options = quick();
  options.sha256 = sha256_hex(body_);
  const Download result = download(url("unversioned"), target(), options);
  EXPECT_EQ(body(), body_);
  EXPECT_EQ(result.tries, 3);  // the half, the other file's half, the whole
  EXPECT_EQ(log()[1], "/unversioned/w bytes=50000- - -");
}

TEST_F(DownloadTest, TakesADateForAVersion) {
  EXPECT_EQ(download(url("dated"), target(), quick()).bytes, 100'000U);
  // Its part, as a killed call would leave it.
  fs::rename(target(), part());
  fs::resize_file(part(), 1000);
  write_file_atomic(
      folder_ / "out/.w.pth.part.json",
      "{\"url_sha256\": \"" + sha256_hex(url("dated")) +
          "\", \"validator\": \"Mon, 06 May 2024 10:00:00 GMT\", \"length\": 100000}");
  EXPECT_EQ(download(url("dated"), target(), quick()).resumed_from, 1000U);
  EXPECT_EQ(body(), body_);
  EXPECT_EQ(log().back(), "/dated/w bytes=1000- Mon, 06 May 2024 10:00:00 GMT -");
}

TEST_F(DownloadTest, TakesAWholePartForTheFile) {
  for (const auto& [fault, resumed] :
       std::vector<std::pair<std::string, std::uint64_t>>{{"plain", 100'000}, {"bad-416", 0}}) {
    fs::create_directories(folder_ / "out");
    write_file_atomic(part(), body_);
    write_file_atomic(folder_ / "out/.w.pth.part.json",
                      "{\"url_sha256\": \"" + sha256_hex(url(fault)) +
                          "\", \"validator\": \"\\\"v1\\\"\", \"length\": 100000}");
    const Download result = download(url(fault), target(), quick());
    EXPECT_EQ(result.resumed_from, resumed) << fault;  // a 416 with another length is no proof
    EXPECT_EQ(body(), body_) << fault;
  }
}

TEST_F(DownloadTest, WaitsForABusyServer) {
  EXPECT_EQ(download(url("busy"), target(), quick()).tries, 3);
  EXPECT_EQ(body(), body_);
}

TEST_F(DownloadTest, GivesUpOnAServerThatIsDown) {
  fails(ErrorKind::kIo, "status 503 (8 tries)", "down");
  EXPECT_EQ(log().size(), 8U);
  EXPECT_FALSE(fs::exists(part()));
}

TEST_F(DownloadTest, TakesTheWholeFileWhereRangesAreIgnored) {
  DownloadOptions options = quick();
  options.tries = 1;
  fails(ErrorKind::kIo, "50000 bytes are kept", "reset", options);
  // The same address answers without ranges now.
  write_file_atomic(folder_ / "out/.w.pth.part.json",
                    "{\"url_sha256\": \"" + sha256_hex(url("no-range")) +
                        "\", \"validator\": \"\\\"v1\\\"\", \"length\": 100000}");
  const Download result = download(url("no-range"), target(), options);
  EXPECT_EQ(log().back(), "/no-range/w bytes=50000- \"v1\" -");
  EXPECT_EQ(result.resumed_from, 0U);
  EXPECT_EQ(body(), body_);
}

TEST_F(DownloadTest, RefusesWhatIsNotTheFile) {
  fails(ErrorKind::kData, "a web page (text/html)", "portal");
  fails(ErrorKind::kData, "an empty file", "empty");
  fails(ErrorKind::kData, "a compressed answer", "gzip");
  fails(ErrorKind::kData, "more than the limit of", "huge");
  fails(ErrorKind::kNotFound, "status 404: no such file", "missing");
  fails(ErrorKind::kIo, "status 403: a token with access", "forbidden");
  EXPECT_EQ(log().size(), 6U) << "none of these is worth another try";
  EXPECT_FALSE(fs::exists(part()));
}

TEST_F(DownloadTest, DropsWhatTheCallersChecksRefuse) {
  DownloadOptions options = quick();
  options.check_head = [](std::string_view head) {
    if (head.starts_with("<")) throw Error(ErrorKind::kData, "no weights");
  };
  fails(ErrorKind::kData, "no weights", "disguised", options);
  options = quick();
  options.check = [](const fs::path&) { throw Error(ErrorKind::kFormat, "cut off"); };
  fails(ErrorKind::kFormat, "cut off", "cut", options);
  EXPECT_FALSE(fs::exists(part()));
}

TEST_F(DownloadTest, ShowsTheChecksFilesShorterThanTheirHead) {
  DownloadOptions options = quick();
  std::string head;
  options.check_head = [&](std::string_view bytes) { head = bytes; };
  download("http://127.0.0.1:" + server_->port() + "/plain/small", target(), options);
  EXPECT_EQ(head, "tiny");
}

TEST_F(DownloadTest, RefusesAWrongLength) {
  DownloadOptions options = quick();
  options.tries = 2;
  fails(ErrorKind::kIo, "50000 bytes remaining to read (2 tries)", "short", options);
  options.bytes = 99'999;
  fails(ErrorKind::kData, "100000 bytes, expected 99999", "plain", options);
  fails(ErrorKind::kData, "50000 bytes, expected 99999", "cut", options);
  options.bytes = 0;
  options.most_bytes = 200'000;
  fails(ErrorKind::kData, "more than the limit of 200000 bytes", "endless", options);
}

TEST_F(DownloadTest, RefusesAWrongHash) {
  DownloadOptions options = quick();
  options.sha256 = std::string(64, 'a');
  fails(ErrorKind::kData, "SHA-256 " + sha256_hex(body_) + ", expected aaaa", "plain", options);
  options.sha256.clear();
  options.sha256_prefix = "00000000";
  fails(ErrorKind::kData, "expected it to begin with 00000000", "plain", options);
  EXPECT_FALSE(fs::exists(part()));
  options.sha256_prefix = sha256_hex(body_).substr(0, 8);
  EXPECT_EQ(download(url("plain"), target(), options).bytes, 100'000U);
}

TEST_F(DownloadTest, TakesAStalledConnectionForABrokenOne) {
  DownloadOptions options = quick();
  options.tries = 1;
  fails(ErrorKind::kIo, "150 bytes are kept", "stall", options);
}

TEST_F(DownloadTest, FollowsRedirectsToAllowedPlacesOnly) {
  fails(ErrorKind::kIo, "redirects to file://, expected https://", "to-file");
  fails(ErrorKind::kIo, "redirects to ftp://, expected https://", "to-ftp");
  fails(ErrorKind::kIo, "redirects to http://example.invalid/w, expected", "to-plain-http");
  fails(ErrorKind::kIo, "more than 10 redirects", "to-itself");
  fails(ErrorKind::kIo, "status 302 without an address", "to-nowhere");
}

TEST_F(DownloadTest, SendsTheTokenToTheFirstHostAlone) {
  DownloadOptions options = quick();
  fails(ErrorKind::kIo, "status 401: a token with access to this file is needed", "gated", options);
  options.bearer = "wrong-s3cret";
  fails(ErrorKind::kIo, "the token has no access to this file, or has expired", "gated", options);
  options.bearer = "s3cret";
  download(url("to-gated"), target(), options);
  EXPECT_EQ(body(), body_);
  EXPECT_EQ(log().back(), "/gated/w - - token");
  const Download result = download(url("to-other"), target(), options);
  EXPECT_EQ(body(), body_);
  EXPECT_EQ(log().back(), "/no-token/w?signed=1 - - -");
  EXPECT_EQ(result.address, "http://localhost:" + server_->port() + "/no-token/w");
}

TEST_F(DownloadTest, RefusesASecondProcessAndWhatIsInTheWay) {
  fs::create_directory(folder_ / "out");
  ASSERT_EQ(::symlink("/nowhere", part().c_str()), 0);
  fails(ErrorKind::kIo, ".part: cannot be written", "plain");
  fs::remove(part());
  ASSERT_EQ(::mkfifo(part().c_str(), 0600), 0);
  fails(ErrorKind::kIo, "in the way of the download", "plain");
  fs::remove(part());
  DownloadOptions options = quick();
  std::string inner = "no error";
  options.check = [&](const fs::path&) {
    try {
      download(url("plain"), target(), quick());
    } catch (const Error& error) {
      inner = error.what();
    }
  };
  download(url("plain"), target(), options);
  EXPECT_NE(inner.find("another process is fetching this file"), std::string::npos) << inner;
  EXPECT_EQ(body(), body_);
}

TEST_F(DownloadTest, AsksForACertificateThatIsKnown) {
  const fs::path key = folder_ / "key.pem";
  const fs::path certificate = folder_ / "certificate.pem";
  const std::string command =
      "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "
      "/CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout " +
      key.string() + " -out " + certificate.string() + " > /dev/null 2>&1";
  if (std::system(command.c_str()) != 0) GTEST_SKIP() << "NO openssl: it makes the certificate";
  start({"--tls", certificate.string(), key.string()});
  const std::string message = failure(ErrorKind::kIo, url("plain", "https"), quick());
  EXPECT_NE(message.find("certificate"), std::string::npos) << message;
  ASSERT_EQ(::setenv("SSL_CERT_FILE", certificate.c_str(), 1), 0);
  const Download result = download(url("plain", "https"), target(), quick());
  EXPECT_EQ(body(), body_);
  EXPECT_EQ(result.tries, 1);
  fs::remove(target());
  const std::string plain = failure(ErrorKind::kIo, url("to-other", "https"), quick());
  EXPECT_NE(plain.find("redirects to http://localhost"), std::string::npos) << plain;
  ::unsetenv("SSL_CERT_FILE");
}

TEST(DownloadAddress, AllowsHttpsAndThisMachine) {
  for (const char* good : {"https://example.org/w.pth",
                           "http://localhost:8/w",
                           "http://127.1.2.3/w",
                           "http://[::1]:8080/w"}) {
    EXPECT_NO_THROW(check_download_address(good)) << good;
  }
  for (const char* bad : {"http://example.org/w",
                          "file:///etc/passwd",
                          "ftp://h/w",
                          "w.pth",
                          "http://127.example.org/w",
                          "http://localhost.example.org/w",
                          "",
                          "https://user:word@example.org/w",
                          "https://h/a b\r\nX: y",
                          "https://"}) {
    EXPECT_THROW(check_download_address(bad), Error) << bad;
  }
}

TEST(DownloadAddress, IsShownWithoutItsSecrets) {
  EXPECT_EQ(shown_address("https://me:word@Example.org:443/a/w.pth?Signature=abc#x"),
            "https://example.org/a/w.pth");
  EXPECT_EQ(shown_address("https://example.org:8443/w"), "https://example.org:8443/w");
  EXPECT_EQ(shown_address("file:///etc/passwd"), "file:///etc/passwd");
  EXPECT_EQ(shown_address("https://"), "an unreadable address");
}

TEST(DownloadOptions, AreChecked) {
  const auto message = [](const DownloadOptions& options) -> std::string {
    try {
      options.validate();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kUsage);
      return error.what();
    }
    return "no error";
  };
  DownloadOptions options;
  EXPECT_EQ(message(options), "no error");
  options.sha256 = "abc";
  EXPECT_EQ(message(options), "SHA-256 'abc', expected 64 hexadecimal digits");
  options = {};
  options.sha256_prefix = "xyz";
  EXPECT_NE(message(options).find("hexadecimal"), std::string::npos);
  options = {};
  options.tries = 9;
  EXPECT_EQ(message(options), "9 tries, expected 1 to 8");
  options = {};
  options.first_wait_s = -1.0;
  EXPECT_NE(message(options).find("a wait of -1"), std::string::npos);
  options = {};
  options.bearer = "two\nlines";
  EXPECT_EQ(message(options), "the token holds characters that no token has");
}

TEST(DownloadToken, IsOneLine) {
  const fs::path file = fs::temp_directory_path() / ("med3d-token-" + std::to_string(::getpid()));
  write_file_atomic(file, "  hf_abc \n");
  EXPECT_EQ(read_token(file), "hf_abc");
  for (const char* bad : {"", " \n", "s3cret one", "s3cret\nX-Evil: 1"}) {
    write_file_atomic(file, bad);
    try {
      read_token(file);
      ADD_FAILURE() << "no error for '" << bad << "'";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kUsage);
      EXPECT_EQ(std::string(error.what()).find("s3cret"), std::string::npos);
    }
  }
  fs::remove(file);
}

}  // namespace
}  // namespace med3d
