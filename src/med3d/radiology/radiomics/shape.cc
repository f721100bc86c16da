#include "med3d/radiology/radiomics/shape.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <numbers>
#include <utility>

namespace med3d::radiomics {
namespace {

// Triangles of the cubes whose corner 7 is outside: three edges each, as hexadecimal digits. Bit k
// of the place in the list says that corner k is inside.
constexpr std::array<std::string_view, 128> kTriangles = {
    "",
    "083",
    "019",
    "183981",
    "12a",
    "08312a",
    "92a029",
    "2832a8a98",
    "3b2",
    "0b28b0",
    "19023b",
    "1b219b98b",
    "3a1ba3",
    "0a108a8ba",
    "3903b9ba9",
    "98aa8b",
    "478",
    "430734",
    "019847",
    "419471731",
    "12a847",
    "34730412a",
    "92a902847",
    "2a9297273794",
    "8473b2",
    "b47b24204",
    "90184723b",
    "47b94b9b2921",
    "3a13ba784",
    "1ba14b1047b4",
    "47890b9bab03",
    "47b4b99ba",
    "954",
    "954083",
    "054150",
    "854835315",
    "12a954",
    "30812a495",
    "52a542402",
    "2a5325354348",
    "95423b",
    "0b208b495",
    "05401523b",
    "21525828b485",
    "a3ba13954",
    "4950818a18ba",
    "54050b5bab03",
    "54858aa8b",
    "978579",
    "930953573",
    "078017157",
    "153357",
    "978957a12",
    "a12950530573",
    "802825857a52",
    "2a5253357",
    "7957893b2",
    "95797292027b",
    "23b018178157",
    "b21b17715",
    "958857a13a3b",
    "5705097b010aba0",
    "ba0b03a50807570",
    "ba57b5",
    "a65",
    "0835a6",
    "9015a6",
    "1831985a6",
    "165261",
    "165126308",
    "965906026",
    "598582526328",
    "23ba65",
    "b08b20a65",
    "01923b5a6",
    "5a61929b298b",
    "63b653513",
    "08b0b50515b6",
    "3b6036065059",
    "65969bb98",
    "5a6478",
    "43047365a",
    "1905a6847",
    "a65197173794",
    "612651478",
    "125526304347",
    "847905065026",
    "739794329596269",
    "3b2784a65",
    "5a647242027b",
    "01947823b5a6",
    "9219b294b7b45a6",
    "8473b53515b6",
    "51b5b610b7b404b",
    "059065036b63847",
    "65969b4797b9",
    "a4964a",
    "4a649a083",
    "a01a60640",
    "83181686461a",
    "149124264",
    "308129249264",
    "024426",
    "832824426",
    "a49a64b23",
    "08228b49a4a6",
    "3b201606461a",
    "64161a48121b8b1",
    "964936913b63",
    "8b1810b61914641",
    "3b6360064",
    "648b68",
    "7a678a89a",
    "0730a709a67a",
    "a671a7178180",
    "a67a71173",
    "126168189867",
    "269291679093739",
    "780706602",
    "732672",
    "23ba68a89867",
    "20727b09767a9a7",
    "1801781a767a23b",
    "b21b17a61671",
    "896867916b63136",
    "091b67",
    "7807063b0b60",
    "7b6",
};

// Corners 0 to 7 and middles of edges 0 to 11, x, y, z in half voxels.
constexpr std::array<std::array<int, 3>, 8> kCorners = {
    {{0, 0, 0}, {2, 0, 0}, {2, 2, 0}, {0, 2, 0}, {0, 0, 2}, {2, 0, 2}, {2, 2, 2}, {0, 2, 2}}};
constexpr std::array<std::array<int, 3>, 12> kEdges = {{{1, 0, 0},
                                                        {2, 1, 0},
                                                        {1, 2, 0},
                                                        {0, 1, 0},
                                                        {1, 0, 2},
                                                        {2, 1, 2},
                                                        {1, 2, 2},
                                                        {0, 1, 2},
                                                        {0, 0, 1},
                                                        {2, 0, 1},
                                                        {2, 2, 1},
                                                        {0, 2, 1}}};

std::size_t edge_of(char digit) {
  return static_cast<std::size_t>(digit <= '9' ? digit - '0' : digit - 'a' + 10);
}

// Eigenvalues of a symmetric 3 x 3 matrix by Jacobi's rotations, ascending.
Vector3 eigenvalues(std::array<Vector3, 3> a) {
  for (int sweep = 0; sweep < 60; ++sweep) {
    const double off = std::abs(a[0][1]) + std::abs(a[0][2]) + std::abs(a[1][2]);
    if (off == 0.0) break;
    for (std::size_t p = 0; p < 2; ++p) {
      for (std::size_t q = p + 1; q < 3; ++q) {
        if (a[p][q] == 0.0) continue;
        const double theta = (a[q][q] - a[p][p]) / (2.0 * a[p][q]);
        const double t =
            (theta >= 0.0 ? 1.0 : -1.0) / (std::abs(theta) + std::sqrt(theta * theta + 1.0));
        const double c = 1.0 / std::sqrt(t * t + 1.0);
        const double s = t * c;
        for (std::size_t k = 0; k < 3; ++k) {
          const double kp = a[k][p];
          const double kq = a[k][q];
          a[k][p] = c * kp - s * kq;
          a[k][q] = s * kp + c * kq;
        }
        for (std::size_t k = 0; k < 3; ++k) {
          const double pk = a[p][k];
          const double qk = a[q][k];
          a[p][k] = c * pk - s * qk;
          a[q][k] = s * pk + c * qk;
        }
        a[p][q] = a[q][p] = 0.0;
      }
    }
  }
  Vector3 out{a[0][0], a[1][1], a[2][2]};
  std::sort(out.begin(), out.end());
  return out;
}

// Places of `level`, from the box's corner.
std::array<std::int64_t, 3> place_of(const Region& region, std::uint32_t place) {
  const std::int64_t row = place / region.padded[0];
  return {place % region.padded[0] - region.margin,
          row % region.padded[1] - region.margin,
          row / region.padded[1] - region.margin};
}

using Point = std::array<std::int64_t, 3>;  // in half voxels

// The corners of the convex hull of points of one plane, by their coordinates u and v.
std::vector<Point> hull_of(std::vector<Point>& points, std::size_t u, std::size_t v) {
  std::sort(points.begin(), points.end(), [&](const Point& a, const Point& b) {
    return a[u] != b[u] ? a[u] < b[u] : a[v] < b[v];
  });
  if (points.size() < 3) return points;
  const auto turns_left = [&](const Point& a, const Point& b, const Point& c) {
    return (b[u] - a[u]) * (c[v] - a[v]) - (b[v] - a[v]) * (c[u] - a[u]) > 0;
  };
  std::vector<Point> hull;
  for (int pass = 0; pass < 2; ++pass) {
    const std::size_t first = hull.size();
    for (const Point& point : points) {
      while (hull.size() >= first + 2 && !turns_left(hull[hull.size() - 2], hull.back(), point)) {
        hull.pop_back();
      }
      hull.push_back(point);
    }
    hull.pop_back();  // the first of the other pass
    std::reverse(points.begin(), points.end());
  }
  return hull;
}

double largest_square(const std::vector<Point>& points, const Vector3& half_mm) {
  double largest = 0.0;
  for (std::size_t i = 0; i < points.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      double square = 0.0;
      for (std::size_t axis = 0; axis < 3; ++axis) {
        const double apart = static_cast<double>(points[i][axis] - points[j][axis]) * half_mm[axis];
        square += apart * apart;
      }
      largest = std::max(largest, square);
    }
  }
  return largest;
}

}  // namespace

Mesh mesh_of(const Region& region) {
  std::array<std::int64_t, 8> corner{};
  for (std::size_t k = 0; k < 8; ++k) {
    corner[k] = region.step({kCorners[k][0] / 2, kCorners[k][1] / 2, kCorners[k][2] / 2});
  }
  Mesh mesh;
  for (std::int64_t z = -1; z < region.size[2]; ++z) {
    for (std::int64_t y = -1; y < region.size[1]; ++y) {
      const std::int64_t row =
          region.padded[0] * (y + region.margin + region.padded[1] * (z + region.margin)) +
          region.margin;
      for (std::int64_t x = -1; x < region.size[0]; ++x) {
        unsigned inside = 0;
        for (std::size_t k = 0; k < 8; ++k) {
          if (region.level[static_cast<std::size_t>(row + x + corner[k])] != 0) inside |= 1U << k;
        }
        const double sign = (inside & 0x80U) != 0 ? -1.0 : 1.0;
        if (sign < 0.0) inside ^= 0xffU;
        const std::string_view triangles = kTriangles[inside];
        for (std::size_t t = 0; t + 2 < triangles.size(); t += 3) {
          std::array<Vector3, 3> point{};
          for (std::size_t k = 0; k < 3; ++k) {
            const auto& edge = kEdges[edge_of(triangles[t + k])];
            point[k] = {(static_cast<double>(x + 1) + 0.5 * edge[0]) * region.spacing_mm[0],
                        (static_cast<double>(y + 1) + 0.5 * edge[1]) * region.spacing_mm[1],
                        (static_cast<double>(z + 1) + 0.5 * edge[2]) * region.spacing_mm[2]};
          }
          // The table's triangles turn so that (z, y, x) is right-handed.
          mesh.volume_mm3 -= sign * dot(cross(point[0], point[1]), point[2]) / 6.0;
          const Vector3 a{
              point[0][0] - point[2][0], point[0][1] - point[2][1], point[0][2] - point[2][2]};
          const Vector3 b{
              point[1][0] - point[2][0], point[1][1] - point[2][1], point[1][2] - point[2][2]};
          mesh.area_mm2 += 0.5 * norm(cross(a, b));
        }
      }
    }
  }
  return mesh;
}

Diameters diameters_of(const Region& region) {
  // Points of the surface, by plane of constant z, y and x.
  std::array<std::map<std::int64_t, std::vector<Point>>, 3> planes;
  for (const std::uint32_t place : region.voxels) {
    const auto at = place_of(region, place);
    for (std::size_t axis = 0; axis < 3; ++axis) {
      std::array<int, 3> step{};
      step[axis] = 1;
      const std::int64_t offset = region.step(step);
      for (const int side : {-1, 1}) {
        if (region.level[static_cast<std::size_t>(place + side * offset)] != 0) continue;
        Point point{2 * at[0], 2 * at[1], 2 * at[2]};
        point[axis] += side;
        for (std::size_t k = 0; k < 3; ++k) planes[k][point[k]].push_back(point);
      }
    }
  }
  const Vector3 half_mm{
      0.5 * region.spacing_mm[0], 0.5 * region.spacing_mm[1], 0.5 * region.spacing_mm[2]};
  Vector3 in_plane{};
  std::vector<Point> corners;  // of all planes of constant z
  for (std::size_t axis = 0; axis < 3; ++axis) {
    for (auto& [at, points] : planes[axis]) {
      const std::vector<Point> hull = hull_of(points, axis == 0 ? 1 : 0, axis == 2 ? 1 : 2);
      in_plane[axis] = std::max(in_plane[axis], largest_square(hull, half_mm));
      if (axis == 2) corners.insert(corners.end(), hull.begin(), hull.end());
    }
  }
  return {std::sqrt(in_plane[2]),
          std::sqrt(in_plane[1]),
          std::sqrt(in_plane[0]),
          std::sqrt(largest_square(corners, half_mm))};
}

std::vector<double> shape_features(const Region& region) {
  const auto n = static_cast<double>(region.voxels.size());
  Vector3 mean{};
  for (const std::uint32_t place : region.voxels) {
    const auto at = place_of(region, place);
    for (std::size_t k = 0; k < 3; ++k) mean[k] += static_cast<double>(at[k]);
  }
  for (std::size_t k = 0; k < 3; ++k) mean[k] *= region.spacing_mm[k] / n;
  std::array<Vector3, 3> covariance{};
  for (const std::uint32_t place : region.voxels) {
    const auto at = place_of(region, place);
    Vector3 off{};
    for (std::size_t k = 0; k < 3; ++k) {
      off[k] = static_cast<double>(at[k]) * region.spacing_mm[k] - mean[k];
    }
    for (std::size_t a = 0; a < 3; ++a) {
      for (std::size_t b = 0; b < 3; ++b) covariance[a][b] += off[a] * off[b] / n;
    }
  }
  Vector3 axis = eigenvalues(covariance);
  // A flat region's least eigenvalue is 0 but for rounding.
  for (double& value : axis) value = std::max(value, 0.0);

  const Mesh mesh = mesh_of(region);
  const Diameters diameters = diameters_of(region);
  const double volume = n * region.spacing_mm[0] * region.spacing_mm[1] * region.spacing_mm[2];
  const double sphere = std::cbrt(36.0 * std::numbers::pi * mesh.volume_mm3 * mesh.volume_mm3);
  return {std::sqrt(axis[1] / axis[2]),
          std::sqrt(axis[0] / axis[2]),
          4.0 * std::sqrt(axis[0]),
          4.0 * std::sqrt(axis[2]),
          diameters.column_mm,
          diameters.row_mm,
          diameters.slice_mm,
          diameters.any_mm,
          mesh.volume_mm3,
          4.0 * std::sqrt(axis[1]),
          sphere / mesh.area_mm2,
          mesh.area_mm2,
          mesh.area_mm2 / mesh.volume_mm3,
          volume};
}

}  // namespace med3d::radiomics
