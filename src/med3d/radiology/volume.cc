#include "med3d/radiology/volume.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "med3d/core/error.h"
#include "med3d/core/limits.h"

namespace med3d {
namespace {

constexpr double kDegrees = 180.0 / 3.14159265358979323846;
constexpr std::string_view kPositive = "LPS";
constexpr std::string_view kNegative = "RAI";

struct AxisMatch {
  std::array<int, 3> patient{};     // patient axis of each voxel axis
  std::array<bool, 3> backwards{};  // it points to R, A or I
};

AxisMatch match_axes(const Affine& affine) {
  AxisMatch out;
  std::array<bool, 3> voxel_done{};
  std::array<bool, 3> patient_done{};
  for (int round = 0; round < 3; ++round) {
    double best = -1.0;
    int best_voxel = 0;
    int best_patient = 0;
    for (int v = 0; v < 3; ++v) {
      const Vector3 step = affine.column(v);
      const double length = norm(step);
      for (int p = 0; p < 3 && !voxel_done[static_cast<std::size_t>(v)]; ++p) {
        if (patient_done[static_cast<std::size_t>(p)]) continue;
        const double fit =
            length > 0.0 ? std::abs(step[static_cast<std::size_t>(p)]) / length : 0.0;
        if (fit > best) {
          best = fit;
          best_voxel = v;
          best_patient = p;
        }
      }
    }
    const auto v = static_cast<std::size_t>(best_voxel);
    const auto p = static_cast<std::size_t>(best_patient);
    voxel_done[v] = patient_done[p] = true;
    out.patient[v] = best_patient;
    out.backwards[v] = affine.column(best_voxel)[p] < 0.0;
  }
  return out;
}

}  // namespace

Vector3 cross(const Vector3& a, const Vector3& b) {
  return {a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]};
}

double dot(const Vector3& a, const Vector3& b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

double norm(const Vector3& a) { return std::sqrt(dot(a, a)); }

Vector3 Affine::operator()(const Vector3& point) const {
  Vector3 out{};
  for (std::size_t i = 0; i < 3; ++i) {
    out[i] = m[i][0] * point[0] + m[i][1] * point[1] + m[i][2] * point[2] + m[i][3];
  }
  return out;
}

Vector3 Affine::column(int axis) const {
  const auto j = static_cast<std::size_t>(axis);
  return {m[0][j], m[1][j], m[2][j]};
}

Affine operator*(const Affine& a, const Affine& b) {
  Affine out;
  for (std::size_t i = 0; i < 4; ++i) {
    for (std::size_t j = 0; j < 4; ++j) {
      out.m[i][j] = 0.0;
      for (std::size_t k = 0; k < 4; ++k) out.m[i][j] += a.m[i][k] * b.m[k][j];
    }
  }
  return out;
}

Affine inverse(const Affine& affine) {
  const Vector3 a = affine.column(0);
  const Vector3 b = affine.column(1);
  const Vector3 c = affine.column(2);
  const double determinant = dot(a, cross(b, c));
  const double scale = norm(a) * norm(b) * norm(c);
  if (!std::isfinite(determinant) || !(std::abs(determinant) > 1e-9 * scale)) {
    throw Error(ErrorKind::kData, "a voxel grid that is flat: its axes lie in one plane");
  }
  const std::array<Vector3, 3> rows{cross(b, c), cross(c, a), cross(a, b)};
  Affine out;
  for (std::size_t i = 0; i < 3; ++i) {
    for (std::size_t j = 0; j < 3; ++j) out.m[i][j] = rows[i][j] / determinant;
    out.m[i][3] = -dot(rows[i], affine.column(3)) / determinant;
  }
  return out;
}

std::string_view to_string(VoxelUnits units) {
  return units == VoxelUnits::kHu ? "HU" : "arbitrary";
}

std::size_t checked_voxels(const std::array<std::int64_t, 3>& size, std::string_view what) {
  std::uint64_t count = 1;
  for (const std::int64_t side : size) {
    if (side < 1) {
      throw Error(ErrorKind::kFormat,
                  fmt::format("{}: {} x {} x {} voxels, expected at least 1 along each axis",
                              what,
                              size[0],
                              size[1],
                              size[2]));
    }
    count = checked_multiply(count, static_cast<std::uint64_t>(side), what);
  }
  if (checked_multiply(count, sizeof(float), what) > limits().array_bytes) {
    throw Error(ErrorKind::kFormat,
                fmt::format("{}: {} x {} x {} voxels, more than the limit of {} bytes",
                            what,
                            size[0],
                            size[1],
                            size[2],
                            limits().array_bytes));
  }
  return static_cast<std::size_t>(count);
}

void Volume::validate() const {
  if (voxels.size() != checked_voxels(size, "volume")) {
    throw Error(
        ErrorKind::kData,
        fmt::format("{} voxels, expected {} x {} x {}", voxels.size(), size[0], size[1], size[2]));
  }
  const Vector3 expected = spacing_of(patient_from_voxel);
  for (std::size_t i = 0; i < 3; ++i) {
    if (!(spacing_mm[i] > 0.0) || !(std::abs(spacing_mm[i] - expected[i]) <= 1e-4 * expected[i])) {
      throw Error(ErrorKind::kData,
                  fmt::format("spacing of {} mm along axis {}, expected {} as the grid says",
                              spacing_mm[i],
                              i,
                              expected[i]));
    }
  }
  inverse(patient_from_voxel);
}

Vector3 spacing_of(const Affine& patient_from_voxel) {
  return {norm(patient_from_voxel.column(0)),
          norm(patient_from_voxel.column(1)),
          norm(patient_from_voxel.column(2))};
}

std::string orientation_code(const Affine& patient_from_voxel) {
  const AxisMatch match = match_axes(patient_from_voxel);
  std::string out;
  for (std::size_t v = 0; v < 3; ++v) {
    out += (match.backwards[v] ? kNegative : kPositive)[static_cast<std::size_t>(match.patient[v])];
  }
  return out;
}

std::string_view to_string(Plane plane) {
  switch (plane) {
    case Plane::kAxial:
      return "axial";
    case Plane::kCoronal:
      return "coronal";
    case Plane::kSagittal:
      return "sagittal";
    case Plane::kOblique:
      break;
  }
  return "oblique";
}

Plane plane_of(const Vector3& row, const Vector3& column, double tolerance_degrees) {
  const Vector3 normal = cross(row, column);
  const double length = norm(normal);
  if (!(length > 0.0)) return Plane::kOblique;
  std::size_t axis = 0;
  for (std::size_t i = 1; i < 3; ++i) {
    if (std::abs(normal[i]) > std::abs(normal[axis])) axis = i;
  }
  const double cosine = std::min(1.0, std::abs(normal[axis]) / length);
  if (std::acos(cosine) * kDegrees > tolerance_degrees) return Plane::kOblique;
  constexpr std::array kPlanes{Plane::kSagittal, Plane::kCoronal, Plane::kAxial};
  return kPlanes[axis];
}

Plane plane_of(const Affine& patient_from_voxel, double tolerance_degrees) {
  return plane_of(patient_from_voxel.column(0), patient_from_voxel.column(1), tolerance_degrees);
}

Volume reorient(const Volume& volume, std::string_view code) {
  volume.validate();
  std::array<std::size_t, 3> wanted{};  // patient axis of each new axis
  std::array<bool, 3> backwards{};
  std::array<bool, 3> seen{};
  bool good = code.size() == 3;
  for (std::size_t i = 0; good && i < 3; ++i) {
    const std::size_t up = kPositive.find(code[i]);
    const std::size_t down = kNegative.find(code[i]);
    good = up != std::string_view::npos || down != std::string_view::npos;
    if (!good) break;
    wanted[i] = up != std::string_view::npos ? up : down;
    backwards[i] = up == std::string_view::npos;
    good = !seen[wanted[i]];
    seen[wanted[i]] = true;
  }
  if (!good) {
    throw Error(
        ErrorKind::kUsage,
        fmt::format("orientation '{}', expected one letter each of L/R, P/A and S/I", code));
  }
  const AxisMatch match = match_axes(volume.patient_from_voxel);
  Affine old_from_new;  // voxel indices
  for (auto& row : old_from_new.m) row.fill(0.0);
  old_from_new.m[3][3] = 1.0;
  Volume out;
  out.units = volume.units;
  std::array<std::int64_t, 3> stride{};  // in old voxels, of a step along each new axis
  std::int64_t origin = 0;
  const std::array<std::int64_t, 3> old_stride{1, volume.size[0], volume.size[0] * volume.size[1]};
  for (std::size_t i = 0; i < 3; ++i) {
    const auto v = static_cast<std::size_t>(
        std::ranges::find(match.patient, static_cast<int>(wanted[i])) - match.patient.begin());
    const bool flip = match.backwards[v] != backwards[i];
    out.size[i] = volume.size[v];
    old_from_new.m[v][i] = flip ? -1.0 : 1.0;
    old_from_new.m[v][3] = flip ? static_cast<double>(volume.size[v] - 1) : 0.0;
    stride[i] = flip ? -old_stride[v] : old_stride[v];
    if (flip) origin += (volume.size[v] - 1) * old_stride[v];
  }
  out.patient_from_voxel = volume.patient_from_voxel * old_from_new;
  out.spacing_mm = spacing_of(out.patient_from_voxel);
  out.voxels.reserve(volume.voxels.size());
  for (std::int64_t z = 0; z < out.size[2]; ++z) {
    for (std::int64_t y = 0; y < out.size[1]; ++y) {
      std::int64_t at = origin + z * stride[2] + y * stride[1];
      for (std::int64_t x = 0; x < out.size[0]; ++x, at += stride[0]) {
        out.voxels.push_back(volume.voxels[static_cast<std::size_t>(at)]);
      }
    }
  }
  return out;
}

}  // namespace med3d
