// Zip containers, as numpy (npz) and torch write them: a strict reader and a small writer.
//
// Files are hostile. The reader holds or maps the whole file, checks its directory once, when it is
// opened, and inflates a member only when it is asked for; nothing is ever written to a disk.
//
// Read: methods stored (0) and deflate (8), zip64, data descriptors, archive comments.
// Refused: encryption, other methods, several discs, bytes before the first member's directory
// offset (polyglots), a central directory that disagrees with the local headers, members that
// overlap each other or the directory, two members of one name, names that climb out of a folder.
//
// Source: PKWARE APPNOTE.TXT 6.3.10.
// Checked against: files of NumPy 1.24 and torch 1.13, Python's zipfile reading ours, hand-made
// bytes, every cut and bit flip of small archives.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "med3d/core/file_bytes.h"

namespace med3d {

struct ZipEntry {
  std::string name;                // "arr_0.npy", "archive/data.pkl"; a folder ends in '/'
  std::uint16_t method = 0;        // 0 = stored, 8 = deflate
  std::uint32_t crc32 = 0;         // of the inflated bytes
  std::uint64_t stored_bytes = 0;  // in the file
  std::uint64_t bytes = 0;         // inflated, as declared; read() proves it
  std::uint64_t data_offset = 0;   // of the first stored byte, from the start of the file
};

class ZipArchive {
 public:
  // bytes        the whole file
  // source_name  its path, for messages
  // Throws Error(kFormat) for what is damaged or beyond limits().zip_entries, zip_ratio (above
  // 1 MiB inflated) or array_bytes for one member; Error(kUnsupported) for valid features that we
  // do not read.
  explicit ZipArchive(std::string bytes, std::string source_name);
  explicit ZipArchive(FileBytes file, std::string source_name);

  // In the order of the central directory.
  std::span<const ZipEntry> entries() const { return entries_; }
  const ZipEntry* find(std::string_view name) const;  // nullptr if there is none
  const std::string& source_name() const { return source_name_; }

  // The inflated bytes of one of entries(). Throws Error(kFormat) if the deflate stream is damaged,
  // yields another number of bytes than declared, or the checksum differs.
  std::string read(const ZipEntry& entry) const;

  // The bytes of a member that is stored (method 0), where they lie; valid as long as the archive.
  // Throws Error(kUsage) for one that is not, Error(kFormat) if the checksum differs.
  std::string_view stored(const ZipEntry& entry) const;
  // The file, of which a reader may forget what it is done with.
  const FileBytes& file() const { return file_; }

  static bool detect(std::string_view head);  // "PK\3\4", or an empty archive's "PK\5\6"

 private:
  void require_crc(const ZipEntry& entry, std::string_view bytes) const;

  FileBytes file_;
  std::string source_name_;
  std::vector<ZipEntry> entries_;
};

// Writes members stored (not compressed), dated 1980-01-01: the same members are the same bytes.
class ZipWriter {
 public:
  // alignment  0, or the multiple at which each member's data begin: torch maps its tensors and
  //            wants 64. The gap is an extra field "FB" of the local header, as torch does.
  explicit ZipWriter(std::size_t alignment = 0) : alignment_(alignment) {}

  // Throws Error(kUsage) for a name that ZipArchive would refuse or that was added before,
  // Error(kUnsupported) once the archive would need zip64 (4 GiB or 65,535 members).
  void add(std::string_view name, std::string_view data);

  // A member whose data the caller writes himself, between the pieces of finish_pieces(). `crc` is
  // their zlib_crc32. Errors as add.
  void add_later(std::string_view name, std::uint64_t size, std::uint32_t crc);

  // The whole file. The writer may not be used afterwards. Throws Error(kUsage) after add_later.
  std::string finish();
  // What stands before the data of each add_later, in their order, and after the last of them.
  std::vector<std::string> finish_pieces();

 private:
  struct Member {
    std::string name;
    std::uint32_t crc32;
    std::uint32_t bytes;
    std::uint32_t offset;
  };

  std::uint64_t position() const { return written_ + out_.size(); }
  void add_head(std::string_view name, std::uint64_t size, std::uint32_t crc);

  std::size_t alignment_;
  std::string out_;                  // since the last add_later
  std::vector<std::string> pieces_;  // before each of them
  std::uint64_t written_ = 0;        // bytes of the pieces and of the data between them
  std::vector<Member> members_;
};

// CRC-32 as zip, gzip and PNG use it; 0 begins, and what it returns goes on.
std::uint32_t zlib_crc32(std::uint32_t crc, std::string_view data);

}  // namespace med3d
