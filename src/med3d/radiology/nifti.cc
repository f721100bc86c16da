#include "med3d/radiology/nifti.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <span>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/limits.h"
#include "med3d/io/formats/deflate.h"
#include "med3d/radiology/volume_worker.h"

namespace med3d {
namespace {

static_assert(std::endian::native == std::endian::little, "voxels are copied as they lie");

constexpr std::size_t kHeader1 = 348;
constexpr std::size_t kHeader2 = 540;
constexpr std::int64_t kMaxSide = 1 << 24;
constexpr double kMaxMillimetres = 1e6;

[[noreturn]] void bad(std::string_view source, const std::string& what) {
  throw Error(ErrorKind::kFormat, fmt::format("{}: {}", source, what));
}
[[noreturn]] void unsupported(std::string_view source, const std::string& what) {
  throw Error(ErrorKind::kUnsupported, fmt::format("{}: {}", source, what));
}

template <class T>
T load(const char* from, bool swap) {
  std::array<char, sizeof(T)> bytes;
  std::memcpy(bytes.data(), from, sizeof(T));
  if (swap) std::reverse(bytes.begin(), bytes.end());
  return std::bit_cast<T>(bytes);
}

struct Header {
  bool swap = false;
  bool second = false;  // NIfTI-2
  std::array<std::int64_t, 8> dim{};
  int datatype = 0;
  int bits = 0;
  std::array<double, 8> pixdim{};
  double offset = 0;
  double slope = 0;
  double inter = 0;
  int units = 0;
  int qform_code = 0;
  int sform_code = 0;
  std::array<double, 6> quatern{};  // b, c, d, x, y, z
  std::array<double, 12> srow{};
};

Header parse_header(std::string_view bytes, std::string_view source) {
  if (bytes.size() < kHeader1) {
    bad(source,
        fmt::format("{} bytes, expected a NIfTI header of at least {}", bytes.size(), kHeader1));
  }
  Header out;
  const auto size = load<std::int32_t>(bytes.data(), false);
  const auto swapped = load<std::int32_t>(bytes.data(), true);
  out.swap = swapped == 348 || swapped == 540;
  out.second = size == 540 || swapped == 540;
  if (!out.swap && size != 348 && size != 540) {
    bad(source, "no NIfTI header: its first number is neither 348 nor 540");
  }
  if (out.second && bytes.size() < kHeader2) {
    bad(source, fmt::format("{} bytes, expected a NIfTI-2 header of {}", bytes.size(), kHeader2));
  }
  const auto i16 = [&](std::size_t at) { return load<std::int16_t>(bytes.data() + at, out.swap); };
  const auto i32 = [&](std::size_t at) { return load<std::int32_t>(bytes.data() + at, out.swap); };
  const auto i64 = [&](std::size_t at) { return load<std::int64_t>(bytes.data() + at, out.swap); };
  const auto f32 = [&](std::size_t at) {
    return static_cast<double>(load<float>(bytes.data() + at, out.swap));
  };
  const auto f64 = [&](std::size_t at) { return load<double>(bytes.data() + at, out.swap); };
  const std::string_view magic = bytes.substr(out.second ? 4 : 344, 4);
  const std::string_view one =
      out.second ? std::string_view("n+2\0", 4) : std::string_view("n+1\0", 4);
  const std::string_view pair =
      out.second ? std::string_view("ni2\0", 4) : std::string_view("ni1\0", 4);
  if (magic == pair) unsupported(source, "a pair of .hdr and .img files, expected one .nii file");
  if (magic != one)
    bad(source, fmt::format("no NIfTI file: no 'n+{}' in its header", out.second ? 2 : 1));
  if (out.second) {
    out.datatype = i16(12);
    out.bits = i16(14);
    for (std::size_t i = 0; i < 8; ++i) out.dim[i] = i64(16 + 8 * i);
    for (std::size_t i = 0; i < 8; ++i) out.pixdim[i] = f64(104 + 8 * i);
    out.offset = static_cast<double>(i64(168));
    out.slope = f64(176);
    out.inter = f64(184);
    out.qform_code = i32(344);
    out.sform_code = i32(348);
    for (std::size_t i = 0; i < 6; ++i) out.quatern[i] = f64(352 + 8 * i);
    for (std::size_t i = 0; i < 12; ++i) out.srow[i] = f64(400 + 8 * i);
    out.units = i32(500);
  } else {
    out.datatype = i16(70);
    out.bits = i16(72);
    for (std::size_t i = 0; i < 8; ++i) out.dim[i] = i16(40 + 2 * i);
    for (std::size_t i = 0; i < 8; ++i) out.pixdim[i] = f32(76 + 4 * i);
    out.offset = f32(108);
    out.slope = f32(112);
    out.inter = f32(116);
    out.units = static_cast<unsigned char>(bytes[123]);
    out.qform_code = i16(252);
    out.sform_code = i16(254);
    for (std::size_t i = 0; i < 6; ++i) out.quatern[i] = f32(256 + 4 * i);
    for (std::size_t i = 0; i < 12; ++i) out.srow[i] = f32(280 + 4 * i);
  }
  return out;
}

double millimetres(const Header& header) {
  switch (header.units & 7) {
    case 1:
      return 1000.0;
    case 3:
      return 0.001;
    default:
      return 1.0;  // 2 = mm; 0 = not said
  }
}

// In RAS, as the file has it.
Affine stored_affine(const Header& header, std::string_view source) {
  Affine out;
  const auto finite = [&](std::span<const double> values, std::string_view name) {
    for (const double value : values) {
      if (!std::isfinite(value) || std::abs(value) > kMaxMillimetres) {
        bad(source, fmt::format("{} of {}", name, value));
      }
    }
  };
  if (header.sform_code > 0) {
    finite(header.srow, "an sform");
    for (std::size_t i = 0; i < 12; ++i) out.m[i / 4][i % 4] = header.srow[i];
    return out;
  }
  for (std::size_t i = 1; i <= 3; ++i) {
    const double step = header.pixdim[i];
    // Some writers leave 0 for axes of length one.
    if (!std::isfinite(step) || std::abs(step) > kMaxMillimetres ||
        (step == 0.0 && header.dim[i] > 1)) {
      bad(source, fmt::format("a voxel size of {} along axis {}", step, i));
    }
  }
  Vector3 step{std::abs(header.pixdim[1]), std::abs(header.pixdim[2]), std::abs(header.pixdim[3])};
  for (double& value : step) value = value == 0.0 ? 1.0 : value;
  if (header.qform_code <= 0) {
    for (std::size_t i = 0; i < 3; ++i) out.m[i][i] = step[i];
    return out;
  }
  finite(header.quatern, "a qform");
  double b = header.quatern[0];
  double c = header.quatern[1];
  double d = header.quatern[2];
  double a = 1.0 - (b * b + c * c + d * d);
  if (a < -1e-3) bad(source, "a qform whose quaternion is longer than 1");
  if (a < 1e-7) {  // a rotation by 180 degrees, up to rounding
    const double length = 1.0 / std::sqrt(b * b + c * c + d * d);
    b *= length;
    c *= length;
    d *= length;
    a = 0.0;
  } else {
    a = std::sqrt(a);
  }
  const double r[3][3] = {
      {a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)},
      {2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)},
      {2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b}};
  const double handed = header.pixdim[0] < 0.0 ? -1.0 : 1.0;
  for (std::size_t i = 0; i < 3; ++i) {
    for (std::size_t j = 0; j < 3; ++j) {
      out.m[i][j] = r[i][j] * step[j] * (j == 2 ? handed : 1.0);
    }
    out.m[i][3] = header.quatern[3 + i];
  }
  return out;
}

// RAS and LPS differ in the sign of x and y.
Affine other_patient_axes(Affine affine) {
  for (std::size_t i = 0; i < 2; ++i) {
    for (double& value : affine.m[i]) value = value == 0.0 ? 0.0 : -value;
  }
  return affine;
}

struct Stored {
  Volume volume;  // without voxels
  Header header;
  std::size_t count = 0;
  std::size_t offset = 0;
  std::size_t bytes_each = 0;
};

Stored describe_volume(std::string_view bytes, std::string_view source) {
  Stored out;
  out.header = parse_header(bytes, source);
  const Header& header = out.header;
  if (header.dim[0] < 1 || header.dim[0] > 7) {
    bad(source, fmt::format("{} axes, expected 1 to 7", header.dim[0]));
  }
  std::int64_t more = 1;
  for (std::size_t i = 1; i <= 7; ++i) {
    const std::int64_t side = static_cast<std::int64_t>(i) <= header.dim[0] ? header.dim[i] : 1;
    if (side < 1 || side > kMaxSide) {
      bad(source, fmt::format("{} voxels along axis {}, expected 1 to {}", side, i, kMaxSide));
    }
    if (i <= 3)
      out.volume.size[i - 1] = side;
    else if (side > 1)
      more = side;
  }
  if (more > 1) unsupported(source, fmt::format("{} volumes in one file, expected 1", more));
  switch (header.datatype) {
    case 2:
    case 256:
    case 1:
      out.bytes_each = 1;
      break;
    case 4:
    case 512:
      out.bytes_each = 2;
      break;
    case 8:
    case 768:
    case 16:
      out.bytes_each = 4;
      break;
    case 64:
    case 1024:
    case 1280:
      out.bytes_each = 8;
      break;
    default:
      break;
  }
  if (header.datatype == 1) {
    unsupported(source, "single bits as voxels (datatype 1), expected numbers of 1 to 8 bytes");
  }
  if (out.bytes_each == 0) {
    unsupported(
        source,
        fmt::format("voxels of datatype {}, expected whole numbers or floats", header.datatype));
  }
  if (header.bits != static_cast<int>(8 * out.bytes_each)) {
    bad(source,
        fmt::format("{} bits a voxel, expected {} of datatype {}",
                    header.bits,
                    8 * out.bytes_each,
                    header.datatype));
  }
  out.count = checked_voxels(out.volume.size, source);
  const std::size_t least = header.second ? kHeader2 : kHeader1;
  // Some writers leave the offset at 0; the data then follow the header and its 4 bytes of
  // extension.
  const double offset = header.offset == 0.0 ? static_cast<double>(least + 4) : header.offset;
  if (!(offset >= static_cast<double>(least)) || offset > 1e9 || offset != std::floor(offset)) {
    bad(source, fmt::format("voxels at byte {}, expected {} or more", header.offset, least));
  }
  out.offset = static_cast<std::size_t>(offset);

  Affine affine = stored_affine(header, source);
  const double unit = millimetres(header);
  for (std::size_t i = 0; i < 3; ++i) {
    for (double& value : affine.m[i]) value *= unit;
  }
  out.volume.patient_from_voxel = other_patient_axes(affine);
  out.volume.spacing_mm = spacing_of(out.volume.patient_from_voxel);
  try {
    inverse(out.volume.patient_from_voxel);
  } catch (const Error&) {
    bad(source, "a position matrix that is flat: its axes lie in one plane");
  }
  return out;
}

template <class T>
void convert(std::string_view stored, const Header& header, std::vector<float>& out) {
  const bool scaled = std::isfinite(header.slope) && header.slope != 0.0 &&
                      (header.slope != 1.0 || header.inter != 0.0);
  const double slope = scaled ? header.slope : 1.0;
  const double inter = scaled && std::isfinite(header.inter) ? header.inter : 0.0;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const auto value = load<T>(stored.data() + i * sizeof(T), header.swap);
    out[i] = scaled ? static_cast<float>(static_cast<double>(value) * slope + inter)
                    : static_cast<float>(value);
  }
}

std::uint64_t most_bytes() { return checked_add(limits().array_bytes, 1 << 20, "NIfTI"); }

template <class T>
void put(std::string& out, std::size_t at, T value) {
  std::memcpy(out.data() + at, &value, sizeof(T));
}

// The unit quaternion of a rotation (columns x, y, z), a >= 0.
std::array<double, 4> quaternion_of(const std::array<Vector3, 3>& axes) {
  const auto r = [&](std::size_t i, std::size_t j) { return axes[j][i]; };
  const double trace = r(0, 0) + r(1, 1) + r(2, 2);
  std::array<double, 4> q{};
  if (trace > 0.5) {
    q[0] = 0.5 * std::sqrt(1.0 + trace);
    q[1] = 0.25 * (r(2, 1) - r(1, 2)) / q[0];
    q[2] = 0.25 * (r(0, 2) - r(2, 0)) / q[0];
    q[3] = 0.25 * (r(1, 0) - r(0, 1)) / q[0];
    return q;
  }
  std::size_t i = 0;  // the largest of the diagonal: nothing is divided by a small number
  if (r(1, 1) > r(i, i)) i = 1;
  if (r(2, 2) > r(i, i)) i = 2;
  const std::size_t j = (i + 1) % 3;
  const std::size_t k = (i + 2) % 3;
  const double s = 2.0 * std::sqrt(std::max(0.0, 1.0 + r(i, i) - r(j, j) - r(k, k)));
  q[0] = (r(k, j) - r(j, k)) / s;
  q[1 + i] = 0.25 * s;
  q[1 + j] = (r(j, i) + r(i, j)) / s;
  q[1 + k] = (r(k, i) + r(i, k)) / s;
  if (q[0] < 0.0) {
    for (double& value : q) value = -value;
  }
  return q;
}

struct QForm {
  bool exact = false;
  double handed = 1.0;
  std::array<double, 4> quaternion{1, 0, 0, 0};
};

QForm qform_of(const Affine& ras, const Vector3& spacing) {
  std::array<Vector3, 3> axes{};
  for (std::size_t j = 0; j < 3; ++j) {
    axes[j] = ras.column(static_cast<int>(j));
    for (double& value : axes[j]) value /= spacing[j];
  }
  QForm out;
  out.exact = std::abs(dot(axes[0], axes[1])) < 1e-4 && std::abs(dot(axes[0], axes[2])) < 1e-4 &&
              std::abs(dot(axes[1], axes[2])) < 1e-4;
  if (!out.exact) return out;
  if (dot(axes[0], cross(axes[1], axes[2])) < 0.0) {
    out.handed = -1.0;
    for (double& value : axes[2]) value = -value;
  }
  out.quaternion = quaternion_of(axes);
  return out;
}

}  // namespace

Volume parse_nifti(std::string_view bytes, std::string_view source) {
  std::string inflated;
  if (is_gzip(bytes)) {
    // The header says how large the content is: that much is inflated, and not more.
    const std::string head = gzip_decompress(bytes, most_bytes(), source, kHeader2);
    const Stored said = describe_volume(head, source);
    const std::uint64_t content =
        said.offset + checked_multiply(said.count, said.bytes_each, source);
    inflated = gzip_decompress(bytes, content + (1 << 20), source);
    bytes = inflated;
  }
  Stored stored = describe_volume(bytes, source);
  const std::uint64_t need = checked_multiply(stored.count, stored.bytes_each, source);
  if (bytes.size() < stored.offset || bytes.size() - stored.offset < need) {
    bad(source,
        fmt::format(
            "{} bytes, expected {} of voxels behind byte {}", bytes.size(), need, stored.offset));
  }
  Volume out = std::move(stored.volume);
  out.voxels.resize(stored.count);
  const std::string_view data = bytes.substr(stored.offset, need);
  switch (stored.header.datatype) {
    case 2:
      convert<std::uint8_t>(data, stored.header, out.voxels);
      break;
    case 256:
      convert<std::int8_t>(data, stored.header, out.voxels);
      break;
    case 4:
      convert<std::int16_t>(data, stored.header, out.voxels);
      break;
    case 512:
      convert<std::uint16_t>(data, stored.header, out.voxels);
      break;
    case 8:
      convert<std::int32_t>(data, stored.header, out.voxels);
      break;
    case 768:
      convert<std::uint32_t>(data, stored.header, out.voxels);
      break;
    case 1024:
      convert<std::int64_t>(data, stored.header, out.voxels);
      break;
    case 1280:
      convert<std::uint64_t>(data, stored.header, out.voxels);
      break;
    case 16:
      convert<float>(data, stored.header, out.voxels);
      break;
    default:
      convert<double>(data, stored.header, out.voxels);
      break;
  }
  for (const float voxel : out.voxels) {
    if (!std::isfinite(voxel)) {
      throw Error(ErrorKind::kData, fmt::format("{}: voxels that are not finite", source));
    }
  }
  return out;
}

Volume read_nifti(const std::filesystem::path& path) {
  if (auto isolated = isolated_read_nifti(path)) return std::move(*isolated);
  return parse_nifti(read_file(path, most_bytes()), path.filename().string());
}

Volume read_nifti_header(const std::filesystem::path& path) {
  if (auto isolated = isolated_read_nifti_header(path)) return std::move(*isolated);
  const std::string source = path.filename().string();
  std::error_code failed;
  if (!std::filesystem::is_regular_file(path, failed)) {
    throw Error(std::filesystem::exists(path, failed) ? ErrorKind::kFormat : ErrorKind::kNotFound,
                fmt::format("{}: not a regular file", source));
  }
  std::ifstream file(path, std::ios::binary);
  std::string bytes(64 << 10, '\0');
  file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  bytes.resize(static_cast<std::size_t>(file.gcount()));
  if (is_gzip(bytes)) bytes = gzip_decompress(bytes, most_bytes(), source, kHeader2);
  return describe_volume(bytes, source).volume;
}

std::string nifti_bytes(const Volume& volume, const NiftiWrite& options) {
  volume.validate();
  float least = volume.voxels.front();
  float most = least;
  bool whole = true;
  for (const float voxel : volume.voxels) {
    if (!std::isfinite(voxel)) throw Error(ErrorKind::kData, "voxels that are not finite");
    least = std::min(least, voxel);
    most = std::max(most, voxel);
    whole = whole && voxel == std::floor(voxel);
  }
  const bool small = options.type == NiftiType::kInt16;
  double slope = 1.0;
  double inter = 0.0;
  if (small && !(whole && least >= -32768.0F && most <= 32767.0F)) {
    slope = (static_cast<double>(most) - static_cast<double>(least)) / 65535.0;
    slope = static_cast<double>(static_cast<float>(slope));
    if (!(slope > 0.0) || !std::isfinite(slope)) {
      // All equal, or too near each other or too far apart for a float's slope.
      if (most != least) {
        throw Error(ErrorKind::kData, "voxels whose range has no float slope to 16 bits");
      }
      slope = 1.0;
      inter = static_cast<double>(least);
    } else {
      inter = static_cast<double>(static_cast<float>(static_cast<double>(least) + 32768.0 * slope));
    }
  }
  const bool second = *std::ranges::max_element(volume.size) > 32767;
  const Affine ras = other_patient_axes(volume.patient_from_voxel);
  const Vector3 spacing = spacing_of(ras);
  const QForm qform = qform_of(ras, spacing);
  const std::size_t offset = second ? kHeader2 + 4 : kHeader1 + 4;
  const std::size_t each = small ? 2 : 4;
  std::string out(offset + volume.voxels.size() * each, '\0');
  const int datatype = small ? 4 : 16;
  const int code = qform.exact ? 1 : 0;
  std::array<double, 8> pixdim{qform.handed, spacing[0], spacing[1], spacing[2], 0, 0, 0, 0};
  std::array<double, 6> quatern{qform.quaternion[1],
                                qform.quaternion[2],
                                qform.quaternion[3],
                                ras.m[0][3],
                                ras.m[1][3],
                                ras.m[2][3]};
  std::array<std::int64_t, 8> dim{3, volume.size[0], volume.size[1], volume.size[2], 1, 1, 1, 1};
  if (second) {
    put<std::int32_t>(out, 0, 540);
    std::memcpy(out.data() + 4, "n+2\0\r\n\032\n", 8);
    put<std::int16_t>(out, 12, static_cast<std::int16_t>(datatype));
    put<std::int16_t>(out, 14, static_cast<std::int16_t>(8 * each));
    for (std::size_t i = 0; i < 8; ++i) put<std::int64_t>(out, 16 + 8 * i, dim[i]);
    for (std::size_t i = 0; i < 8; ++i) put<double>(out, 104 + 8 * i, pixdim[i]);
    put<std::int64_t>(out, 168, static_cast<std::int64_t>(offset));
    put<double>(out, 176, slope);
    put<double>(out, 184, inter);
    put<std::int32_t>(out, 344, code);
    put<std::int32_t>(out, 348, 1);
    for (std::size_t i = 0; i < 6; ++i) put<double>(out, 352 + 8 * i, quatern[i]);
    for (std::size_t i = 0; i < 12; ++i) put<double>(out, 400 + 8 * i, ras.m[i / 4][i % 4]);
    put<std::int32_t>(out, 500, 2);
  } else {
    put<std::int32_t>(out, 0, 348);
    out[38] = 'r';  // "regular": expected by old readers
    for (std::size_t i = 0; i < 8; ++i) {
      put<std::int16_t>(out, 40 + 2 * i, static_cast<std::int16_t>(dim[i]));
      put<float>(out, 76 + 4 * i, static_cast<float>(pixdim[i]));
    }
    put<std::int16_t>(out, 70, static_cast<std::int16_t>(datatype));
    put<std::int16_t>(out, 72, static_cast<std::int16_t>(8 * each));
    put<float>(out, 108, static_cast<float>(offset));
    put<float>(out, 112, static_cast<float>(slope));
    put<float>(out, 116, static_cast<float>(inter));
    out[123] = 2;
    put<std::int16_t>(out, 252, static_cast<std::int16_t>(code));
    put<std::int16_t>(out, 254, 1);
    for (std::size_t i = 0; i < 6; ++i)
      put<float>(out, 256 + 4 * i, static_cast<float>(quatern[i]));
    for (std::size_t i = 0; i < 12; ++i) {
      put<float>(out, 280 + 4 * i, static_cast<float>(ras.m[i / 4][i % 4]));
    }
    std::memcpy(out.data() + 344, "n+1", 4);
  }
  if (small) {
    for (std::size_t i = 0; i < volume.voxels.size(); ++i) {
      const double stored = std::nearbyint((static_cast<double>(volume.voxels[i]) - inter) / slope);
      put<std::int16_t>(
          out, offset + 2 * i, static_cast<std::int16_t>(std::clamp(stored, -32768.0, 32767.0)));
    }
  } else {
    std::memcpy(out.data() + offset, volume.voxels.data(), volume.voxels.size() * sizeof(float));
  }
  return options.gzip ? gzip_compress(out) : out;
}

void write_nifti(const std::filesystem::path& path, const Volume& volume, NiftiWrite options) {
  options.gzip = path.extension() == ".gz";
  write_file_atomic(path, nifti_bytes(volume, options));
}

}  // namespace med3d
