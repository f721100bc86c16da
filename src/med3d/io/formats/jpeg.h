// JPEG images: whole files, and the tiles of a TIFF whose tables are stored apart.
//
// Decoding is libjpeg-turbo's accurate integer DCT with its smooth chroma upsampling, the pixels
// that OpenSlide, PIL and libtiff give. A warning of the decoder (data that end early, bits that
// make no sense) is an Error: grey filling never passes for tissue.
//
// Read: baseline, extended and progressive DCT of 8 bits with one or three components, Huffman or
// arithmetic coded. Refused: lossless and hierarchical processes, 12 bits, CMYK, a height that is
// only given after the data (DNL), more than 500 scans.
//
// Source: ITU-T T.81; Adobe Technical Note 5116 (APP14); TIFF Technical Note 2 (JPEGTables).
// Checked against: PIL and OpenSlide on the same bytes, every cut and bit flips of small files.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace med3d {

struct JpegHeader {
  std::int64_t width = 0;   // pixels, at least 1
  std::int64_t height = 0;  // pixels, at least 1
  int components = 0;       // 1 = grey, 3 = colour
  bool progressive = false;
};

// What the three stored components are.
enum class JpegColor {
  kAsMarked,  // what the JFIF or Adobe marker says, else the component numbers
  kYCbCr,     // whatever it says: a TIFF says so itself (PhotometricInterpretation 6)
  kRgb,       // PhotometricInterpretation 2, as Aperio writes it without an Adobe marker
};

// The header alone; nothing is decoded.
//
// jpeg  from its SOI marker on; bytes before that are refused
//
// Cost: the markers up to the first scan. Throws Error(kFormat) for what is no JPEG, is cut short
// before its pixels or has a side of zero, kUnsupported for a process named above.
JpegHeader read_jpeg_header(std::string_view jpeg);

bool detect_jpeg(std::string_view head);  // FF D8 FF

// Decodes into the caller's memory. One for each thread, and used again: it keeps its buffers.
class JpegDecoder {
 public:
  JpegDecoder();
  ~JpegDecoder();
  JpegDecoder(JpegDecoder&&) noexcept;
  JpegDecoder& operator=(JpegDecoder&&) noexcept;

  // jpeg           the stream
  // tables         SOI, quantisation and Huffman tables, EOI (TIFF JPEGTables); empty if jpeg has
  //                its own
  // width, height  what the JPEG must be
  // pixels         height * width * 3, RGB; a grey JPEG gives R = G = B
  //
  // Throws Error(kFormat) for damaged data, another size than expected, or one beyond
  // limits().image_side or image_bytes (before memory is taken); as read_jpeg_header; kUsage if
  // pixels has another length.
  void decode_rgb(std::string_view jpeg,
                  std::string_view tables,
                  JpegColor color,
                  std::int64_t width,
                  std::int64_t height,
                  std::span<std::uint8_t> pixels);

  // The same to one byte a pixel; of a colour JPEG its luma. pixels: height * width.
  void decode_gray(std::string_view jpeg,
                   std::string_view tables,
                   std::int64_t width,
                   std::int64_t height,
                   std::span<std::uint8_t> pixels);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// A baseline JPEG (JFIF, 4:2:0 chroma, accurate DCT): the same pixels give the same bytes.
//
// pixels   height * width * 3, RGB; for grey height * width
// quality  1 to 100, libjpeg's scale
//
// Throws Error(kUsage) for a quality out of range, a side of zero or above 65,535 (no JPEG can hold
// it), or pixels of another length.
std::string encode_jpeg(std::span<const std::uint8_t> pixels,
                        std::int64_t width,
                        std::int64_t height,
                        int quality);
std::string encode_jpeg_gray(std::span<const std::uint8_t> pixels,
                             std::int64_t width,
                             std::int64_t height,
                             int quality);

}  // namespace med3d
