// The bytes of a whole file, mapped or held, for readers that take a large file piece by piece.
//
// A mapped file costs memory only where it was just looked at, and forget() gives that back: what
// walks over a file and forgets what lies behind has one piece of it in memory at a time.
//
// A file that is cut short while it is mapped ends the process (SIGBUS), as with every mapping; one
// that is written to shows new bytes. require_unchanged() says so afterwards: call it once
// everything is read, before anything is done with it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace med3d {

class FileBytes {
 public:
  // Of a regular file of at most max_bytes. Throws as read_file.
  static FileBytes map(const std::filesystem::path& path, std::uint64_t max_bytes);
  // Of bytes in memory; forget() and require_unchanged() do nothing.
  static FileBytes hold(std::string bytes);

  // Valid as long as this object or a copy of it lives.
  std::string_view view() const { return view_; }

  // Gives back the memory behind `part` of view(), but for the pages it shares with its
  // neighbours. What is read there again comes from the file again.
  void forget(std::string_view part) const;

  // Throws Error(kData) if the file has another size or time than when it was mapped, or is gone.
  void require_unchanged() const;

 private:
  struct Mapping;

  std::string_view view_;
  std::shared_ptr<const Mapping> mapping_;  // or
  std::shared_ptr<const std::string> held_;
};

// Of all bytes, in pieces that are forgotten.
std::string sha256_hex(const FileBytes& file);

}  // namespace med3d
