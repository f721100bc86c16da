// Fetching one large file by HTTPS: resumable, bounded, and in place only once its hash is right.
//
// Until it is whole a file lies beside its place as ".<name>.part", with ".<name>.part.json" for
// the address, the version (ETag or Last-Modified) and the length it belongs to. A later call goes
// on where the last one stopped, by Range and If-Range, if those still agree; else it begins anew,
// so that two versions are never glued together. A second process that fetches the same file is
// refused.
//
// Only https is spoken, by redirects too; http is spoken with this machine itself (localhost,
// 127.0.0.0/8, ::1), where no wire is. Redirects are followed one by one, at most 10, and never
// from https to http or from another host to this machine. The token is sent to the host of the
// first address alone (scheme, name and port). Messages show addresses without their query, which
// may hold a signature, and never the token. Certificates are checked against the system's store,
// or SSL_CERT_FILE; https_proxy is obeyed, ~/.netrc is not read.
//
// Source: RFC 9110 sections 8.8, 13.1.5, 14 and 15; RFC 6750 section 2.1.
// Checked against: a server that misbehaves in each way named below (tests/support/fault_server).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "med3d/core/progress.h"

namespace med3d {

struct DownloadOptions {
  std::string sha256;            // of the whole file, 64 hexadecimal digits; "" = not known
  std::string sha256_prefix;     // its first digits, where no more is known
  std::uint64_t bytes = 0;       // size of the file; 0 = not known
  std::uint64_t most_bytes = 0;  // more is refused; 0 = limits().weights_bytes
  std::string bearer;            // token, see read_token; "" = none

  int tries = 8;              // requests answered with 408, 429, 5xx or a broken connection
  double first_wait_s = 1.0;  // before the second try; doubles with each, times 0.5 to 1 by lot
  double most_wait_s = 60.0;  // bounds that wait, and a server's Retry-After
  double connect_s = 30.0;    // to reach the server
  double stall_s = 60.0;      // with less than 100 bytes a second: the connection is broken
  std::uint64_t seed = 0;     // of the lots; differ it among machines that start together

  // Called with the first 64 bytes (fewer if the file is shorter) as soon as they are there, and
  // with the whole file before it takes its place. Either may throw: the bytes are dropped then.
  std::function<void(std::string_view head)> check_head;
  std::function<void(const std::filesystem::path& file)> check;

  void validate() const;
};

struct Download {
  std::uint64_t bytes = 0;         // of the file
  std::string sha256;              // of the file
  std::uint64_t resumed_from = 0;  // bytes that an earlier call had brought
  int tries = 1;                   // requests it took, redirects not counted
  std::string address;             // that gave the file in the end, without query
};

// Throws Error(kUsage) for an address that is not allowed (see above), that holds a user name or
// password, or options that make no sense. No request is made.
void check_download_address(std::string_view url);

// An address as messages show it: without query, fragment, user name and password. Of one that
// cannot be read, "an unreadable address".
std::string shown_address(std::string_view url);

// The token in a file: one line of printable characters. Throws Error(kUsage) for anything else,
// and as read_file; messages never show the content.
std::string read_token(const std::filesystem::path& path);

// How many bytes of a file an earlier call left beside `path`; 0 if none.
std::uint64_t partial_download_bytes(const std::filesystem::path& path);

// Fetches `url` to `path`, which is replaced.
//
// Throws Error(kUsage) as check_download_address and validate; Error(kNotFound) for 404 and 410;
// Error(kData) for what arrives and is not the file: a web page (the login page of a network), a
// wrong length, a wrong hash, an empty file, a compressed answer, what the checks refuse;
// Error(kIo) for all else the server, the network or the disk refuse, and after the last try, with
// the number of bytes kept for the next call.
Download download(const std::string& url,
                  const std::filesystem::path& path,
                  const DownloadOptions& options = {},
                  Progress& progress = silent_progress());

}  // namespace med3d
