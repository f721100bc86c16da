#include "med3d/io/download.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/hash.h"
#include "med3d/core/json.h"
#include "med3d/core/limits.h"
#include "med3d/core/random.h"
#include "med3d/core/text.h"

namespace med3d {
namespace fs = std::filesystem;
namespace {

constexpr int kRedirects = 10;
constexpr int kMostTries = 8;
constexpr std::size_t kHead = 64;                // bytes that check_head sees
constexpr std::size_t kHeaderBytes = 256 << 10;  // of one answer
constexpr std::uint64_t kMiB = 1ULL << 20;
constexpr std::uint64_t kStateBytes = 64 << 10;

bool is_hex(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
  });
}

// What may stand in a header: no line breaks, whoever sent them.
bool is_plain(std::string_view text) {
  return text.size() < 1024 &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
}

std::optional<std::uint64_t> parse_size(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// ---- addresses

struct CurlFree {
  void operator()(char* text) const { curl_free(text); }
};

// The parts of an address that decide what may be done with it.
struct Address {
  std::string url;
  std::string scheme;
  std::string host;  // lower case, an IPv6 address in brackets
  std::string port;
  std::string path;
  bool has_user = false;

  bool loopback() const {
    if (host == "localhost" || host == "[::1]") return true;
    // Four numbers only: "127.example.org" is somebody else.
    const auto parts = split(host, '.');
    return parts.size() == 4 && parts[0] == "127" &&
           std::all_of(parts.begin(), parts.end(), [](const std::string& part) {
             return !part.empty() && part.size() <= 3 && is_hex(part) && parse_size(part);
           });
  }
  bool same_origin(const Address& other) const {
    return scheme == other.scheme && host == other.host && port == other.port;
  }
  std::string shown() const {
    const bool standard = port.empty() || port == "0" || (scheme == "https" && port == "443") ||
                          (scheme == "http" && port == "80");
    return fmt::format("{}://{}{}{}", scheme, host, standard ? "" : ":" + port, path);
  }
};

std::optional<Address> parse_address(const std::string& url) {
  const std::unique_ptr<CURLU, decltype(&curl_url_cleanup)> parser(curl_url(), curl_url_cleanup);
  if (parser == nullptr) throw std::bad_alloc();
  if (curl_url_set(parser.get(), CURLUPART_URL, url.c_str(), CURLU_NON_SUPPORT_SCHEME) !=
      CURLUE_OK) {
    return std::nullopt;
  }
  const auto part = [&](CURLUPart which, unsigned flags = 0) {
    char* text = nullptr;
    if (curl_url_get(parser.get(), which, &text, flags) != CURLUE_OK) return std::string();
    const std::unique_ptr<char, CurlFree> owner(text);
    return std::string(text);
  };
  Address address;
  address.url = url;
  address.scheme = to_lower(part(CURLUPART_SCHEME));
  address.host = to_lower(part(CURLUPART_HOST));
  address.port = part(CURLUPART_PORT, CURLU_DEFAULT_PORT);
  address.path = part(CURLUPART_PATH);
  address.has_user = !part(CURLUPART_USER).empty() || !part(CURLUPART_PASSWORD).empty();
  return address;
}

Address first_address(std::string_view url) {
  const auto address = parse_address(std::string(url));
  if (!address) {
    throw Error(ErrorKind::kUsage,
                "an address that cannot be read, expected https://host/path/file");
  }
  if (address->has_user) {
    throw Error(ErrorKind::kUsage,
                fmt::format("{}: the address holds a user name or password: give a token instead",
                            address->shown()));
  }
  if (address->scheme != "https" && !(address->scheme == "http" && address->loopback())) {
    throw Error(
        ErrorKind::kUsage,
        fmt::format("{}: expected https:// (http:// to this machine only)", address->shown()));
  }
  return *address;
}

// Where an answer of `from` may send us.
Address redirected(const Address& from, const std::string& url) {
  const auto refuse = [&](const std::string& why) -> Error {
    return Error(ErrorKind::kIo, fmt::format("{}: redirects {}", from.shown(), why));
  };
  const auto to = parse_address(url);
  if (!to) throw refuse("to an address that cannot be read");
  if (to->scheme != "https" && to->scheme != "http") {
    throw refuse(fmt::format("to {}://, expected https://", to->scheme));
  }
  if (to->has_user) throw refuse("to an address with a user name or password");
  if (to->loopback() && !from.loopback()) throw refuse("to this machine itself");
  if (to->scheme == "http" && (from.scheme == "https" || !to->loopback())) {
    throw refuse(fmt::format("to {}, expected https://", to->shown()));
  }
  return *to;
}

// ---- the file while it grows

[[noreturn]] void fail(const fs::path& path, std::string_view what) {
  throw Error(ErrorKind::kIo, fmt::format("{}: {}: {}", path.string(), what, std::strerror(errno)));
}

fs::path part_path(const fs::path& path) {
  return path.parent_path() / ("." + path.filename().string() + ".part");
}

fs::path state_path(const fs::path& path) {
  return path.parent_path() / ("." + path.filename().string() + ".part.json");
}

// What the bytes of a part belong to.
struct State {
  std::string url_sha256;    // addresses may hold signatures: they are not stored
  std::string validator;     // a strong ETag, or Last-Modified; "" = the server gave neither
  std::uint64_t length = 0;  // of the whole file, 0 = not said
};

class Part {
 public:
  explicit Part(const fs::path& path) : path_(part_path(path)), state_path_(state_path(path)) {
    // Between opening and locking, another process may put the file in its place: what we hold is
    // not ours then.
    for (int i = 0; i < 100; ++i) {
      open(path);
      struct stat named {};
      if (::lstat(path_.c_str(), &named) == 0 && named.st_ino == inode_) return;
      ::close(fd_);
    }
    throw Error(ErrorKind::kIo,
                fmt::format("{}: another process is fetching this file", path.string()));
  }
  ~Part() {
    // What holds no byte is not worth keeping; the name may be the finished file's by now.
    if (!placed_ && size_ == 0) remove();
    ::close(fd_);
  }
  Part(const Part&) = delete;
  Part& operator=(const Part&) = delete;

  const fs::path& path() const { return path_; }
  std::uint64_t size() const { return size_; }
  const State& state() const { return state_; }
  std::uint64_t adopted() const { return adopted_; }  // bytes of an earlier call that are kept
  int pieces() const { return pieces_; }              // answers that the bytes came by

  // Keeps the bytes of an earlier call if they belong to this address, else drops them.
  void adopt(const State& expected, bool hash_known) {
    State found;
    try {
      const Json document = parse_json(read_file(state_path_, kStateBytes), state_path_.string());
      found.url_sha256 = document.at("url_sha256").get<std::string>();
      found.validator = document.at("validator").get<std::string>();
      found.length = document.at("length").get<std::uint64_t>();
    } catch (const std::exception&) {
      found = {};  // none, or damaged
    }
    const bool fits = size_ > 0 && found.url_sha256 == expected.url_sha256 &&
                      (!found.validator.empty() || hash_known) &&
                      (found.length == 0 || size_ <= found.length) && is_plain(found.validator);
    if (!fits) {
      drop();
      state_ = expected;
      return;
    }
    state_ = found;
    adopted_ = size_;
    pieces_ = 1;
  }

  // Before the first byte of another version is written.
  void begin(State state) {
    drop();
    pieces_ = 1;
    state_ = std::move(state);
    Json document;
    document["url_sha256"] = state_.url_sha256;
    document["validator"] = state_.validator;
    document["length"] = state_.length;
    write_json(state_path_, document);
  }

  void go_on() { ++pieces_; }  // by another answer

  void append(std::string_view bytes) {
    while (!bytes.empty()) {
      const auto n = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(size_));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) fail(path_, "cannot be written");
      bytes.remove_prefix(static_cast<std::size_t>(n));
      size_ += static_cast<std::uint64_t>(n);
    }
  }

  void drop() {
    if (::ftruncate(fd_, 0) != 0) fail(path_, "cannot be shortened");
    size_ = adopted_ = 0;
    pieces_ = 0;
    state_.validator.clear();
    state_.length = 0;
    std::error_code ignored;
    fs::remove(state_path_, ignored);
  }

  // Moves the file to its place; on the way it is synced.
  void place(const fs::path& path) {
    write_file_atomic(path, [&](const fs::path& temporary) {
      if (::rename(path_.c_str(), temporary.c_str()) != 0) fail(path_, "cannot be renamed");
    });
    placed_ = true;
    std::error_code ignored;
    fs::remove(state_path_, ignored);
  }

 private:
  void open(const fs::path& path) {
    fd_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0644);
    if (fd_ < 0) fail(path_, "cannot be written");
    try {
      struct stat info {};
      if (::fstat(fd_, &info) != 0) fail(path_, "cannot be examined");
      if (!S_ISREG(info.st_mode)) {
        throw Error(ErrorKind::kIo,
                    fmt::format("{}: in the way of the download, expected a file or nothing",
                                path_.string()));
      }
      if (::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
        throw Error(ErrorKind::kIo,
                    fmt::format("{}: another process is fetching this file", path.string()));
      }
      // Once more: its owner may have written until the lock was ours.
      if (::fstat(fd_, &info) != 0) fail(path_, "cannot be examined");
      size_ = static_cast<std::uint64_t>(info.st_size);
      inode_ = info.st_ino;
    } catch (...) {
      ::close(fd_);
      throw;
    }
  }

  void remove() {
    std::error_code ignored;
    fs::remove(path_, ignored);
    fs::remove(state_path_, ignored);
  }

  fs::path path_;
  fs::path state_path_;
  int fd_ = -1;
  ino_t inode_ = 0;
  std::uint64_t size_ = 0;
  std::uint64_t adopted_ = 0;
  int pieces_ = 0;
  State state_;
  bool placed_ = false;
};

// ---- one request after the other

// A failure that another try may mend.
struct Retry {
  std::string reason;
  double wait_s = 0.0;  // the server's wish
};

struct Answer {
  long status = 0;
  std::map<std::string, std::string> headers;  // names in lower case

  std::string header(const std::string& name) const {
    const auto found = headers.find(name);
    return found == headers.end() ? std::string() : found->second;
  }
  bool has_file() const { return status == 200 || status == 206; }
};

// "bytes 5-9/10", "bytes */10"
struct ContentRange {
  std::optional<std::uint64_t> first, total;
};

ContentRange parse_content_range(std::string_view text) {
  ContentRange range;
  text = trim(text);
  if (!text.starts_with("bytes ")) return range;
  text = trim(text.substr(6));
  const auto slash = text.find('/');
  if (slash == std::string_view::npos) return range;
  range.total = parse_size(text.substr(slash + 1));
  range.first = parse_size(text.substr(0, std::min(slash, text.find('-'))));
  return range;
}

class Fetch {
 public:
  Fetch(Address first,
        const fs::path& path,
        const DownloadOptions& options,
        Part& part,
        Progress& progress)
      : first_(std::move(first)),
        current_(first_),
        name_(path.filename().string()),
        options_(options),
        part_(part),
        progress_(progress),
        most_bytes_(options.most_bytes != 0 ? options.most_bytes : limits().weights_bytes),
        handle_(curl_easy_init(), curl_easy_cleanup) {
    if (handle_ == nullptr) throw std::bad_alloc();
  }

  // Brings the part nearer to its end. True: it is whole; else `retry` says why not.
  bool attempt(Retry& retry) {
    current_ = first_;
    // Without a version or a hash nothing would tell that two pieces do not belong together.
    if (part_.state().validator.empty() && options_.sha256.empty()) part_.drop();
    for (int hop = 0; hop <= kRedirects; ++hop) {
      const CURLcode code = request();
      if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
      if (dropped_) {  // by our own will, said why
        retry = *std::exchange(dropped_, std::nullopt);
        return false;
      }
      if (code != CURLE_OK) {
        retry = {broken(code)};
        return false;
      }
      char* target = nullptr;
      curl_easy_getinfo(handle_.get(), CURLINFO_REDIRECT_URL, &target);
      const long status = answer_.status;
      const bool redirect =
          status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
      if (!redirect) return judge(retry);
      if (target == nullptr) {
        throw Error(ErrorKind::kIo,
                    fmt::format("{}: status {} without an address", current_.shown(), status));
      }
      current_ = redirected(current_, target);
    }
    throw Error(ErrorKind::kIo,
                fmt::format("{}: more than {} redirects", first_.shown(), kRedirects));
  }

  const Address& address() const { return current_; }

 private:
  CURLcode request() {
    CURL* curl = handle_.get();
    curl_easy_reset(curl);  // keeps open connections
    answer_ = {};
    header_bytes_ = 0;
    begun_ = false;
    asked_from_ = part_.size();
    error_text_[0] = '\0';

    const bool plain = current_.scheme == "http";
    set(CURLOPT_URL, current_.url.c_str());
    set(CURLOPT_PROTOCOLS_STR, plain ? "http" : "https");
    set(CURLOPT_FOLLOWLOCATION, 0L);  // ours: curl_easy_getinfo tells where to
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_USERAGENT, "med3d");
    set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
    if (const char* store = std::getenv("SSL_CERT_FILE"); store != nullptr && *store != '\0') {
      set(CURLOPT_CAINFO, store);
    }
    if (current_.loopback()) set(CURLOPT_NOPROXY, "*");
    set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(options_.connect_s * 1000.0));
    set(CURLOPT_LOW_SPEED_LIMIT, 100L);
    set(CURLOPT_LOW_SPEED_TIME, static_cast<long>(std::ceil(options_.stall_s)));
    set(CURLOPT_ERRORBUFFER, error_text_);
    set(CURLOPT_HEADERFUNCTION, &Fetch::on_header);
    set(CURLOPT_HEADERDATA, this);
    set(CURLOPT_WRITEFUNCTION, &Fetch::on_body);
    set(CURLOPT_WRITEDATA, this);

    curl_slist* list = nullptr;
    const auto add = [&](const std::string& line) {
      curl_slist* longer = curl_slist_append(list, line.c_str());
      if (longer == nullptr) {
        curl_slist_free_all(list);
        throw std::bad_alloc();
      }
      list = longer;
    };
    if (asked_from_ > 0) {
      add(fmt::format("Range: bytes={}-", asked_from_));
      if (!part_.state().validator.empty()) add("If-Range: " + part_.state().validator);
    }
    if (!options_.bearer.empty() && current_.same_origin(first_)) {
      add("Authorization: Bearer " + options_.bearer);
    }
    const std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)> owner(list,
                                                                            curl_slist_free_all);
    set(CURLOPT_HTTPHEADER, list);
    return curl_easy_perform(curl);
  }

  template <class T>
  void set(CURLoption option, T value) {
    const CURLcode code = curl_easy_setopt(handle_.get(), option, value);
    if (code != CURLE_OK) {
      throw Error(ErrorKind::kIo,
                  fmt::format("this libcurl refuses option {}: {}",
                              static_cast<int>(option),
                              curl_easy_strerror(code)));
    }
  }

  // No exception may pass through libcurl: it is kept, and the transfer ends.
  template <class Work>
  std::size_t guarded(std::size_t size, const Work& work) {
    try {
      return work() ? size : 0;
    } catch (...) {
      failure_ = std::current_exception();
      return 0;
    }
  }

  static std::size_t on_header(char* data, std::size_t, std::size_t size, void* self) {
    auto* fetch = static_cast<Fetch*>(self);
    return fetch->guarded(size, [&] { return fetch->take_header({data, size}); });
  }
  static std::size_t on_body(char* data, std::size_t, std::size_t size, void* self) {
    auto* fetch = static_cast<Fetch*>(self);
    return fetch->guarded(size, [&] { return fetch->take_body({data, size}); });
  }

  bool take_header(std::string_view line) {
    header_bytes_ += line.size();
    if (header_bytes_ > kHeaderBytes) {
      throw Error(
          ErrorKind::kIo,
          fmt::format("{}: more than {} KiB of headers", current_.shown(), kHeaderBytes >> 10));
    }
    if (line.starts_with("HTTP/")) {  // also after an interim answer
      answer_ = {};
      answered_ = true;
      const auto space = line.find(' ');
      if (space != std::string_view::npos) {
        const auto status = parse_size(trim(line.substr(space + 1, 3)));
        answer_.status = status ? static_cast<long>(*status) : 0;
      }
      return true;
    }
    const auto colon = line.find(':');
    if (colon != std::string_view::npos) {
      answer_.headers.emplace(to_lower(trim(line.substr(0, colon))),
                              std::string(trim(line.substr(colon + 1))));
    }
    return true;
  }

  bool take_body(std::string_view bytes) {
    if (!answer_.has_file()) return true;  // an error page: not kept
    if (!begun_ && !begin()) return false;
    if (part_.size() + bytes.size() > most_bytes_) too_large();
    const std::uint64_t before = part_.size();
    part_.append(bytes);
    if (before < kHead) {
      head_.append(bytes.substr(0, kHead - before));
      if (head_.size() == kHead) check_head();
    }
    advance();
    return true;
  }

  // What the headers of an answer with a file promise. False: it is dropped, and asked for again.
  bool begin() {
    begun_ = true;
    const std::string type = to_lower(answer_.header("content-type"));
    if (type.starts_with("text/html") || type.starts_with("application/xhtml")) {
      throw Error(ErrorKind::kData,
                  fmt::format("{}: answered with a web page ({}), not with a file: the login page "
                              "of this network, or of the server",
                              current_.shown(),
                              type.substr(0, type.find(';'))));
    }
    const std::string coding = to_lower(answer_.header("content-encoding"));
    if (!coding.empty() && coding != "identity") {
      throw Error(
          ErrorKind::kData,
          fmt::format("{}: a compressed answer, expected the file as it is", current_.shown()));
    }
    if (answer_.status == 206) {
      const ContentRange range = parse_content_range(answer_.header("content-range"));
      const State& state = part_.state();
      const bool same = range.first == asked_from_ && asked_from_ > 0 &&
                        (state.length == 0 || !range.total || *range.total == state.length) &&
                        same_version();
      if (!same) return drop("sent a piece of another version of the file");
      total_ = range.total ? *range.total : state.length;
      part_.go_on();
      if (asked_from_ < kHead) head_ = read_head(part_.path());
      progress_.note(fmt::format("{}: going on from byte {}", name_, asked_from_));
    } else {
      total_ = parse_size(answer_.header("content-length")).value_or(0);
      part_.begin({part_.state().url_sha256, validator(), total_});
      head_.clear();
    }
    if (total_ > most_bytes_) too_large();
    if (options_.bytes != 0 && total_ != 0 && total_ != options_.bytes) wrong_length(total_);
    std::error_code unknown;
    const auto space = fs::space(part_.path(), unknown);
    if (!unknown && total_ > part_.size() && space.available < total_ - part_.size()) {
      throw Error(ErrorKind::kIo,
                  fmt::format("{}: {} more bytes do not fit on the disk, which has {} free",
                              name_,
                              total_ - part_.size(),
                              space.available));
    }
    if (!started_) {
      started_ = true;
      reached_ = part_.size() / kMiB;
      const std::uint64_t mib = (total_ + kMiB - 1) / kMiB;
      progress_.start(fmt::format("fetch {}, MiB", name_),
                      mib > reached_ ? static_cast<std::size_t>(mib - reached_) : 0);
    }
    return true;
  }

  // A strong ETag, or the date of the last change: what may stand in If-Range.
  std::string validator() const {
    const std::string etag = answer_.header("etag");
    const std::string found = is_strong(etag) ? etag : answer_.header("last-modified");
    return is_plain(found) ? found : "";
  }
  static bool is_strong(std::string_view etag) { return etag.size() > 2 && etag.front() == '"'; }

  // As far as the answer tells; some servers leave If-Range unread.
  bool same_version() const {
    const std::string& expected = part_.state().validator;
    const std::string found = answer_.header(is_strong(expected) ? "etag" : "last-modified");
    return expected.empty() || found.empty() || found == expected;
  }

  bool drop(const std::string& why) {
    part_.drop();
    dropped_ = Retry{fmt::format("{} {}", current_.shown(), why)};
    return false;
  }

  static std::string read_head(const fs::path& path) {
    std::string bytes(kHead, '\0');
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) fail(path, "cannot be opened for reading");
    const auto n = ::pread(fd, bytes.data(), bytes.size(), 0);
    ::close(fd);
    bytes.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    return bytes;
  }

  void check_head() {
    if (!options_.check_head) return;
    try {
      options_.check_head(head_);
    } catch (...) {
      part_.drop();
      throw;
    }
  }

  void advance() {
    if (part_.size() / kMiB <= reached_) return;
    progress_.advance(static_cast<std::size_t>(part_.size() / kMiB - reached_));
    reached_ = part_.size() / kMiB;
  }

  [[noreturn]] void too_large() {
    part_.drop();
    throw Error(ErrorKind::kData,
                fmt::format("{}: more than the limit of {} bytes", current_.shown(), most_bytes_));
  }

  [[noreturn]] void wrong_length(std::uint64_t found) {
    part_.drop();
    throw Error(ErrorKind::kData,
                fmt::format("{}: {} bytes, expected {}", current_.shown(), found, options_.bytes));
  }

  // An answer that came to its end.
  bool judge(Retry& retry) {
    const long status = answer_.status;
    if (answer_.has_file()) {
      if (!begun_ && !begin()) {  // it had no body
        retry = *std::exchange(dropped_, std::nullopt);
        return false;
      }
      if (part_.size() == 0) {
        throw Error(ErrorKind::kData, current_.shown() + ": an empty file");
      }
      if (total_ != 0 && part_.size() != total_) {
        if (part_.size() > total_) part_.drop();
        retry = {fmt::format(
            "{}: the answer ended at byte {} of {}", current_.shown(), part_.size(), total_)};
        return false;
      }
      if (options_.bytes != 0 && part_.size() != options_.bytes) wrong_length(part_.size());
      if (head_.size() < kHead && part_.size() < kHead) check_head();
      return true;
    }
    if (status == 416 && asked_from_ > 0) {
      const ContentRange range = parse_content_range(answer_.header("content-range"));
      // A call that was killed before it put the file in its place leaves a whole part.
      if (range.total && *range.total == part_.size() && same_version()) return true;
      part_.drop();
      retry = {fmt::format("{}: the file is shorter than what an earlier call brought",
                           current_.shown())};
      return false;
    }
    if (status == 408 || status == 429 || (status >= 500 && status <= 599 && status != 501)) {
      retry = {fmt::format("{}: status {}", current_.shown(), status)};
      retry.wait_s = static_cast<double>(
          std::min<std::uint64_t>(parse_size(answer_.header("retry-after")).value_or(0), 1U << 20));
      return false;
    }
    refuse(status);
  }

  [[noreturn]] void refuse(long status) const {
    std::string why = fmt::format("{}: status {}", current_.shown(), status);
    ErrorKind kind = ErrorKind::kIo;
    if (status == 401 || status == 403) {
      const bool sent = !options_.bearer.empty() && current_.same_origin(first_);
      why += sent ? ": the token has no access to this file, or has expired"
                  : ": a token with access to this file is needed";
    } else if (status == 404 || status == 410) {
      kind = ErrorKind::kNotFound;
      why += ": no such file there";
    }
    throw Error(kind, why);
  }

  // What to say of a transfer that libcurl gave up; throws where another try makes no sense.
  std::string broken(CURLcode code) const {
    const std::string detail = error_text_[0] != '\0' ? error_text_ : curl_easy_strerror(code);
    std::string message = fmt::format("{}: {}", current_.shown(), detail);
    switch (code) {
      case CURLE_PARTIAL_FILE:
      case CURLE_RECV_ERROR:
      case CURLE_SEND_ERROR:
      case CURLE_GOT_NOTHING:
      case CURLE_HTTP2:
      case CURLE_HTTP2_STREAM:
        return message;
      case CURLE_COULDNT_CONNECT:
      case CURLE_COULDNT_RESOLVE_HOST:
      case CURLE_COULDNT_RESOLVE_PROXY:
      case CURLE_OPERATION_TIMEDOUT:
      case CURLE_SSL_CONNECT_ERROR:
        // Who was there a moment ago may come back; who never was is not waited for.
        if (answered_) return message;
        break;
      default:
        break;
    }
    throw Error(ErrorKind::kIo, message);
  }

  Address first_;
  Address current_;
  std::string name_;
  const DownloadOptions& options_;
  Part& part_;
  Progress& progress_;
  std::uint64_t most_bytes_;
  std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> handle_;

  // Of the request under way.
  Answer answer_;
  std::size_t header_bytes_ = 0;
  bool begun_ = false;  // its body
  std::uint64_t asked_from_ = 0;
  char error_text_[CURL_ERROR_SIZE] = {};
  std::exception_ptr failure_;
  std::optional<Retry> dropped_;

  std::string head_;           // first bytes of the part
  std::uint64_t total_ = 0;    // bytes of the file, 0 = not said
  std::uint64_t reached_ = 0;  // MiB that progress has heard of
  bool started_ = false;       // progress
  bool answered_ = false;      // by any server
};

void initialise_curl() {
  static std::once_flag once;
  std::call_once(once, [] {
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
      throw Error(ErrorKind::kIo, "libcurl cannot be initialised");
    }
  });
}

double wait_before(int next_try, const Retry& retry, const DownloadOptions& options) {
  const std::uint64_t lot =
      derive_seed(options.seed, "download", {static_cast<std::uint64_t>(next_try)});
  const double uniform = static_cast<double>(lot >> 10) / static_cast<double>(1ULL << 53);
  const double wait =
      options.first_wait_s * std::pow(2.0, next_try - 2) * (0.5 + 0.5 * std::min(uniform, 1.0));
  return std::min(std::max(wait, retry.wait_s), options.most_wait_s);
}

// What is wrong with the hash of a whole file, or "".
std::string hash_complaint(const std::string& found, const DownloadOptions& options) {
  const std::string whole = to_lower(options.sha256);
  const std::string prefix = to_lower(options.sha256_prefix);
  if (!whole.empty() && found != whole) return fmt::format("SHA-256 {}, expected {}", found, whole);
  if (!found.starts_with(prefix)) {
    return fmt::format("SHA-256 {}, expected it to begin with {}", found, prefix);
  }
  return "";
}

}  // namespace

void DownloadOptions::validate() const {
  const auto refuse = [](const std::string& why) { throw Error(ErrorKind::kUsage, why); };
  if (!sha256.empty() && (sha256.size() != 64 || !is_hex(sha256))) {
    refuse(fmt::format("SHA-256 '{}', expected 64 hexadecimal digits", sha256));
  }
  if (sha256_prefix.size() > 64 || !is_hex(sha256_prefix)) {
    refuse(fmt::format("start of a SHA-256 '{}', expected hexadecimal digits", sha256_prefix));
  }
  if (tries < 1 || tries > kMostTries) {
    refuse(fmt::format("{} tries, expected 1 to {}", tries, kMostTries));
  }
  for (const double seconds : {first_wait_s, most_wait_s, connect_s, stall_s}) {
    if (!(seconds >= 0.0 && seconds <= 86400.0)) {
      refuse(fmt::format("a wait of {} s, expected 0 to 86400", seconds));
    }
  }
  const auto printable = [](char c) { return c > 0x20 && c < 0x7f; };
  if (!std::all_of(bearer.begin(), bearer.end(), printable)) {
    refuse("the token holds characters that no token has");
  }
}

void check_download_address(std::string_view url) { first_address(url); }

std::string shown_address(std::string_view url) {
  const auto address = parse_address(std::string(url));
  return address ? address->shown() : "an unreadable address";
}

std::string read_token(const fs::path& path) {
  const std::string bytes = read_file(path, 64 << 10);
  const std::string token(trim(bytes));
  const bool printable =
      std::all_of(token.begin(), token.end(), [](char c) { return c > 0x20 && c < 0x7f; });
  if (token.empty() || token.size() > 4096 || !printable) {
    throw Error(ErrorKind::kUsage,
                fmt::format("{}: expected a token: one line of printable characters without "
                            "spaces",
                            path.string()));
  }
  return token;
}

std::uint64_t partial_download_bytes(const fs::path& path) {
  std::error_code error;
  const fs::path part = part_path(path);
  if (!fs::is_regular_file(fs::symlink_status(part, error)) || error) return 0;
  const auto size = fs::file_size(part, error);
  return error ? 0 : size;
}

Download download(const std::string& url,
                  const fs::path& path,
                  const DownloadOptions& options,
                  Progress& progress) {
  options.validate();
  const Address first = first_address(url);
  std::error_code ignored;
  if (!path.has_filename() || fs::is_directory(path, ignored)) {
    throw Error(ErrorKind::kUsage,
                fmt::format("{}: a folder, expected the name of a file", path.string()));
  }
  initialise_curl();
  if (path.has_parent_path()) make_folder(path.parent_path());

  Part part(path);
  part.adopt({sha256_hex(url), "", 0}, !options.sha256.empty());
  Fetch fetch(first, path, options, part, progress);
  Download result;
  for (result.tries = 1;; ++result.tries) {
    Retry retry;
    if (fetch.attempt(retry)) {
      result.bytes = part.size();
      result.resumed_from = part.adopted();
      result.sha256 = sha256_file(part.path());
      const std::string complaint = hash_complaint(result.sha256, options);
      if (complaint.empty()) break;
      retry = {fmt::format("{}: {}", fetch.address().shown(), complaint)};
      // Pieces of two versions from a server that names none may be to blame.
      const bool pieces = part.pieces() > 1 || part.adopted() > 0;
      part.drop();
      if (!pieces) throw Error(ErrorKind::kData, retry.reason);
    }
    if (result.tries >= options.tries) {
      std::string message =
          fmt::format("{} ({})",
                      retry.reason,
                      result.tries == 1 ? "1 try" : fmt::format("{} tries", result.tries));
      if (part.size() > 0) {
        message +=
            fmt::format("; {} bytes are kept, the next call goes on from there", part.size());
      }
      throw Error(ErrorKind::kIo, message);
    }
    const double wait = wait_before(result.tries + 1, retry, options);
    progress.note(fmt::format(
        "{}; try {} of {} in {:.1f} s", retry.reason, result.tries + 1, options.tries, wait));
    std::this_thread::sleep_for(std::chrono::duration<double>(wait));
  }
  if (options.check) {
    try {
      options.check(part.path());
    } catch (...) {
      part.drop();
      throw;
    }
  }
  part.place(path);
  progress.finish();
  result.address = fetch.address().shown();
  return result;
}

}  // namespace med3d
