#include "med3d/radiology/nifti.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/hash.h"
#include "med3d/io/formats/deflate.h"
#include "med3d/radiology/test_support.inc"

namespace med3d {
namespace {

std::string hash_of(const Volume& volume) {
  return sha256_hex(
      {reinterpret_cast<const char*>(volume.voxels.data()), volume.voxels.size() * sizeof(float)});
}

// tests/reference/nifti.py
TEST(Nifti, ReadsRealVolumesBitForBit) {
  const struct {
    const char* name;
    std::array<std::int64_t, 3> size;
    const char* hash;
  } kFiles[] = {
      {"nifti/totalseg_example_ct.nii.gz",
       {122, 101, 112},
       "3353dbcc772fc442541c9b6428897a9d2493d461ea0c52d71e8eb491e2eb3ac4"},
      {"nifti/totalseg_example_ct_sm.nii.gz",
       {122, 101, 30},
       "849ac4440faf1c7117d1dcd168c0ceaef0ebdfccf80d6e51fa215b60cab4cedf"},
      {"nifti/totalseg_example_mr_sm.nii.gz",
       {117, 91, 20},
       "a8ca29f48186115812b5f9366dbef6da9cc203903af71a06125669f8c4d65403"},
      {"nifti/totalseg_example_seg.nii.gz",
       {122, 101, 30},
       "e4c5989fd3aa18046de0bb3f2f685ed83effbb6b15131fcdc223eeb1f069f2b4"},
      {"dicom/geometry_edge_cases/dicom2nifti/generic/anatomical/"
       "002_non_isotropic_ground_truth.nii.gz",
       {64, 28, 4},
       "54343b52654571529038e37539b3c0e4b1ca45c0cba53e4eed405f51bbe62bf1"},
  };
  for (const auto& file : kFiles) {
    const auto path = test_data(file.name);
    MED3D_NEEDS_DATA(path);
    const Volume volume = read_nifti(path);
    EXPECT_EQ(volume.size, file.size) << file.name;
    EXPECT_EQ(hash_of(volume), file.hash) << file.name;
    const Volume header = read_nifti_header(path);
    EXPECT_EQ(header.size, volume.size);
    EXPECT_EQ(header.patient_from_voxel, volume.patient_from_voxel);
  }
  // sform of the CT: 3 mm, RAS, origin (-177.956, 11.319, 94.302): x and y change their signs.
  const Volume ct = read_nifti(test_data("nifti/totalseg_example_ct.nii.gz"));
  EXPECT_EQ(ct.spacing_mm, (Vector3{3, 3, 3}));
  EXPECT_EQ(orientation_code(ct.patient_from_voxel), "RAS");
  EXPECT_NEAR(ct.patient_from_voxel.m[0][3], 177.9563, 1e-4);
  EXPECT_NEAR(ct.patient_from_voxel.m[1][3], -11.319, 1e-3);
  EXPECT_NEAR(ct.patient_from_voxel.m[2][3], 94.3018, 1e-4);
}

Volume small(bool oblique = false) {
  Volume out;
  out.size = {3, 2, 2};
  for (int i = 0; i < 12; ++i) out.voxels.push_back(static_cast<float>(i * i - 40));
  out.patient_from_voxel.m = {{{0.5, 0, 0, -10}, {0, 0.25, 0, 20}, {0, 0, 4, 7}, {0, 0, 0, 1}}};
  if (oblique) {
    const double c = std::cos(0.3);
    const double s = std::sin(0.3);
    out.patient_from_voxel.m = {
        {{-0.5 * c, 0.25 * s, 0, 3}, {0.5 * s, 0.25 * c, 0, 4}, {0, 0, 4, 5}, {0, 0, 0, 1}}};
  }
  out.spacing_mm = spacing_of(out.patient_from_voxel);
  return out;
}

void expect_same_place(const Affine& found, const Affine& expected) {
  for (std::size_t i = 0; i < 3; ++i) {
    for (std::size_t j = 0; j < 4; ++j) EXPECT_NEAR(found.m[i][j], expected.m[i][j], 2e-6);
  }
}

TEST(Nifti, WritesWhatItReads) {
  for (const bool oblique : {false, true}) {
    for (const NiftiType type : {NiftiType::kFloat32, NiftiType::kInt16}) {
      for (const bool gzip : {false, true}) {
        const std::string bytes = nifti_bytes(small(oblique), {type, gzip});
        EXPECT_EQ(bytes, nifti_bytes(small(oblique), {type, gzip}));
        const Volume back = parse_nifti(bytes, "a.nii");
        EXPECT_EQ(back.voxels, small().voxels);
        expect_same_place(back.patient_from_voxel, small(oblique).patient_from_voxel);
      }
    }
  }
}

TEST(Nifti, TheQformItWritesSaysTheSameAsTheSform) {
  for (const bool oblique : {false, true}) {
    std::string bytes = nifti_bytes(small(oblique), {NiftiType::kFloat32, false});
    EXPECT_EQ(bytes[252], 1);
    bytes[254] = 0;  // without the sform
    expect_same_place(parse_nifti(bytes, "a").patient_from_voxel,
                      small(oblique).patient_from_voxel);
  }
  Volume sheared = small();
  sheared.patient_from_voxel.m[1][2] = 1.0;
  sheared.spacing_mm = spacing_of(sheared.patient_from_voxel);
  const std::string bytes = nifti_bytes(sheared, {NiftiType::kFloat32, false});
  EXPECT_EQ(bytes[252], 0);  // no quaternion holds a shear
  expect_same_place(parse_nifti(bytes, "a").patient_from_voxel, sheared.patient_from_voxel);
}

TEST(Nifti, SixteenBitsKeepFractionsToHalfAStep) {
  Volume volume = small();
  volume.voxels[0] = 0.5F;
  volume.voxels[1] = 70000.0F;
  const Volume back = parse_nifti(nifti_bytes(volume, {NiftiType::kInt16, true}), "a");
  const float step = (70000.0F + 40.0F) / 65535.0F;
  for (std::size_t i = 0; i < 12; ++i) EXPECT_NEAR(back.voxels[i], volume.voxels[i], 0.51F * step);
  volume.voxels.assign(12, 1.25F);
  EXPECT_EQ(parse_nifti(nifti_bytes(volume, {NiftiType::kInt16, true}), "a").voxels, volume.voxels);
}

TEST(Nifti, ALongSideMakesNifti2) {
  Volume volume = small();
  volume.size = {40000, 1, 1};
  volume.voxels.assign(40000, 2.0F);
  const std::string bytes = nifti_bytes(volume, {NiftiType::kFloat32, false});
  EXPECT_EQ(bytes.substr(4, 3), "n+2");
  const Volume back = parse_nifti(bytes, "a");
  EXPECT_EQ(back.size, volume.size);
  EXPECT_EQ(back.patient_from_voxel, volume.patient_from_voxel);
  EXPECT_EQ(back.voxels, volume.voxels);
}

template <class T>
std::string with(std::string bytes, std::size_t at, T value) {
  std::memcpy(bytes.data() + at, &value, sizeof value);
  return bytes;
}

// The header's numbers and the voxels, turned byte by byte.
std::string big_endian(std::string bytes) {
  const auto turn = [&](std::size_t at, std::size_t size, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      std::reverse(bytes.begin() + static_cast<std::ptrdiff_t>(at + i * size),
                   bytes.begin() + static_cast<std::ptrdiff_t>(at + (i + 1) * size));
    }
  };
  turn(0, 4, 1);
  turn(40, 2, 8);
  turn(70, 2, 2);
  turn(76, 4, 11);
  turn(252, 2, 2);
  turn(256, 4, 18);
  turn(352, 4, 12);
  return bytes;
}

TEST(Nifti, ReadsTheOtherByteOrderAndEveryType) {
  const std::string plain = nifti_bytes(small(), {NiftiType::kFloat32, false});
  const Volume turned = parse_nifti(big_endian(plain), "a");
  EXPECT_EQ(turned.voxels, small().voxels);
  EXPECT_EQ(turned.patient_from_voxel, parse_nifti(plain, "a").patient_from_voxel);

  const auto typed = [&]<class T>(int code, T) {
    std::string bytes = with(with(plain.substr(0, 352), 70, static_cast<std::int16_t>(code)),
                             72,
                             static_cast<std::int16_t>(8 * sizeof(T)));
    for (int i = 0; i < 12; ++i) {
      const T value = static_cast<T>(i == 11 ? std::numeric_limits<T>::max() / 2 : T(i));
      bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
    }
    const Volume volume = parse_nifti(bytes, "a");
    EXPECT_EQ(volume.voxels[3], 3.0F) << code;
    EXPECT_EQ(volume.voxels[11], static_cast<float>(std::numeric_limits<T>::max() / 2)) << code;
    // value = 2 stored - 1
    const Volume scaled = parse_nifti(with(with(bytes, 112, 2.0F), 116, -1.0F), "a");
    EXPECT_EQ(scaled.voxels[3], 5.0F) << code;
  };
  typed(2, std::uint8_t{});
  typed(256, std::int8_t{});
  typed(4, std::int16_t{});
  typed(512, std::uint16_t{});
  typed(8, std::int32_t{});
  typed(768, std::uint32_t{});
  typed(1024, std::int64_t{});
  typed(1280, std::uint64_t{});
}

TEST(Nifti, WithoutFormsTheVoxelSizesCount) {
  std::string bytes = nifti_bytes(small(), {NiftiType::kFloat32, false});
  bytes[252] = bytes[254] = 0;
  const Volume volume = parse_nifti(bytes, "a");
  EXPECT_EQ(volume.spacing_mm, (Vector3{0.5, 0.25, 4}));
  EXPECT_EQ(volume.patient_from_voxel({0, 0, 0}), (Vector3{0, 0, 0}));
  bytes[123] = 1;  // metres
  EXPECT_EQ(parse_nifti(bytes, "a").spacing_mm, (Vector3{500, 250, 4000}));
}

TEST(Nifti, NamesWhatItRefuses) {
  const std::string good = nifti_bytes(small(), {NiftiType::kFloat32, false});
  const auto refused = [](ErrorKind kind, const std::string& bytes, const std::string& part) {
    expect_error(kind, part, [&] { parse_nifti(bytes, "a.nii"); });
  };
  const auto i16 = [&](std::size_t at, int v) {
    return with(good, at, static_cast<std::int16_t>(v));
  };
  refused(ErrorKind::kFormat, "", "0 bytes, expected a NIfTI header");
  refused(ErrorKind::kFormat, with(good, 0, 347), "neither 348 nor 540");
  refused(ErrorKind::kUnsupported,
          with(good, 344, 'n' + 'i' * 256 + '1' * 65536),
          "pair of .hdr and .img");
  refused(ErrorKind::kFormat, with(good, 344, 7), "no 'n+1'");
  refused(ErrorKind::kFormat, i16(40, 8), "8 axes");
  refused(ErrorKind::kFormat, i16(42, -3), "-3 voxels along axis 1");
  refused(ErrorKind::kUnsupported, with(i16(40, 4), 48, std::int16_t{5}), "5 volumes");
  refused(ErrorKind::kUnsupported, i16(70, 128), "datatype 128");
  refused(ErrorKind::kUnsupported, i16(70, 32), "datatype 32");
  refused(ErrorKind::kFormat, i16(72, 16), "16 bits a voxel, expected 32");
  refused(ErrorKind::kFormat, i16(42, 32767), "bytes, expected");
  refused(ErrorKind::kFormat,
          with(with(with(good, 42, std::int16_t{32767}), 44, std::int16_t{32767}),
               46,
               std::int16_t{32767}),
          "more than the limit");
  refused(ErrorKind::kFormat, with(good, 108, -1.0F), "voxels at byte -1");
  refused(ErrorKind::kFormat, with(good, 108, std::nanf("")), "voxels at byte nan");
  refused(ErrorKind::kFormat, with(good, 280, std::nanf("")), "an sform of nan");
  refused(ErrorKind::kFormat, with(good, 280, 0.0F), "flat");
  refused(ErrorKind::kFormat, with(with(good, 254, std::int16_t{0}), 256, 1.5F), "longer than 1");
  refused(ErrorKind::kData, with(good, 356, std::nanf("")), "not finite");
  refused(ErrorKind::kFormat, good.substr(0, good.size() - 1), "399 bytes, expected 48");
  // What the header does not claim is not inflated.
  const std::string bomb = gzip_compress(good + std::string(8 << 20, '\0'));
  refused(ErrorKind::kFormat, bomb, "when inflated");
}

TEST(Nifti, AnyCutOrFlippedBitEndsInAnErrorOrAVolume) {
  const std::string plain = nifti_bytes(small(true), {NiftiType::kInt16, false});
  const std::string packed = gzip_compress(plain);
  for (const std::string& whole : {plain, packed}) {
    for (std::size_t cut = 0; cut < whole.size(); ++cut) {
      EXPECT_THROW(parse_nifti(whole.substr(0, cut), "a"), Error) << cut;
    }
    for (std::size_t bit = 0; bit < whole.size() * 8; ++bit) {
      std::string flipped = whole;
      flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
      try {
        const Volume volume = parse_nifti(flipped, "a");
        EXPECT_LE(volume.voxels.size(), 100U);
        volume.validate();
      } catch (const Error&) {
      }
    }
  }
}

TEST(Nifti, WritesAFileByItsName) {
  const auto folder = std::filesystem::path(testing::TempDir()) / "med3d_nifti";
  write_nifti(folder / "a.nii.gz", small());
  write_nifti(folder / "a.nii", small());
  EXPECT_TRUE(is_gzip(read_file(folder / "a.nii.gz", 1 << 20)));
  EXPECT_EQ(std::filesystem::file_size(folder / "a.nii"), 352U + 48U);
  EXPECT_EQ(read_nifti(folder / "a.nii.gz").voxels, small().voxels);
  EXPECT_EQ(read_nifti_header(folder / "a.nii").size, small().size);
  expect_error(ErrorKind::kNotFound, "b.nii", [&] { read_nifti_header(folder / "b.nii"); });
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace med3d
