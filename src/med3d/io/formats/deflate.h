// Bytes packed as a zlib stream: what TIFF calls Adobe deflate (compression 8).
//
// Source: RFC 1950 and RFC 1951.
#pragma once

#include <string>
#include <string_view>

namespace med3d {

// level  0 = stored .. 9 = smallest. The same bytes in give the same bytes out on one machine (zlib
//        may differ between two); any reader of the standard gives them back.
// Throws Error(kUsage) for a level out of range.
std::string zlib_compress(std::string_view bytes, int level = 6);

}  // namespace med3d
