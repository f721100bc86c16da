// Bytes packed as a zlib stream, what TIFF calls Adobe deflate (compression 8), as gzip (.nii.gz),
// or bare (deflated DICOM).
//
// Source: RFC 1950, RFC 1951 and RFC 1952.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace med3d {

// level  0 = stored .. 9 = smallest. The same bytes in give the same bytes out on one machine (zlib
//        may differ between two); any reader of the standard gives them back.
// Throws Error(kUsage) for a level out of range.
std::string zlib_compress(std::string_view bytes, int level = 6);

// The same as one gzip member without name and time, so that the same bytes give the same file.
std::string gzip_compress(std::string_view bytes, int level = 6);

bool is_gzip(std::string_view head);  // 1F 8B

// The content of a gzip file (its members joined), or of a bare deflate stream.
//
// max_bytes  what may come out
// source     the file, for messages
// stop_at    where more than this has come out, what is there is enough: the rest is left out and
//            not checked (0 = read all)
//
// Memory grows with what comes out, not with what a header claims.
// Throws Error(kFormat) for damaged or truncated data, bytes after the end (zeros of a padded gzip
// file, and up to 8 of a bare stream, padding or a left-over check sum, excepted), or more than
// max_bytes.
std::string gzip_decompress(std::string_view bytes,
                            std::uint64_t max_bytes,
                            std::string_view source,
                            std::uint64_t stop_at = 0);
std::string inflate_bare(std::string_view bytes, std::uint64_t max_bytes, std::string_view source);

}  // namespace med3d
