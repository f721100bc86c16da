// Makes CT and MR scans for tests: make_scans FOLDER
//
//   FOLDER/dicom    series of 24 axial slices of 24 x 20 pixels, a file a slice, in one heap:
//                   TCGA-AA-0001  a CT after contrast and an MR; a localizer of 2 coronal images
//                   TCGA-AA-0002  a CT; one of its slices is cut short
//                   TCGA-AA-0003  a CT with two slices missing
//                   a private one whose PatientName, PatientID, birth date, accession number and
//                   names of files and folders are CANARY...: no output may repeat it
//                   and a file that is no DICOM
//   FOLDER/nifti    two NIfTI volumes of patients that are no public ones, with scans.csv
//
// The same bytes each time.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <string>
#include <string_view>

#include "med3d/core/file.h"
#include "med3d/radiology/nifti.h"

namespace {

namespace fs = std::filesystem;

constexpr int kColumns = 24;
constexpr int kRows = 20;
constexpr int kSlices = 24;

std::string little(std::uint64_t value, int size) {
  std::string out;
  for (int i = 0; i < size; ++i) out += static_cast<char>(value >> (8 * i));
  return out;
}

std::string element(std::uint32_t tag, std::string_view vr, std::string value) {
  if (value.size() % 2 != 0) value += vr == "UI" ? '\0' : ' ';
  const bool wide = vr == "OW";
  return little(tag >> 16, 2) + little(tag & 0xFFFF, 2) + std::string(vr) +
         (wide ? std::string(2, '\0') : "") + little(value.size(), wide ? 4 : 2) + value;
}

struct Series {
  std::string patient;
  std::string name = "Nobody";
  std::string modality = "CT";
  std::string description;
  std::string uid;
  std::string agent;
  std::string image_type = "ORIGINAL\\PRIMARY\\AXIAL";
  bool coronal = false;
  int slices = kSlices;
  double bright = 0.0;
};

// A body of ellipses in air: Hounsfield units for CT, any numbers above 0 for MR.
int value_at(const Series& series, int x, int y, int z) {
  const double u = (x - 11.5) / 11.0;
  const double v = (y - 9.5) / 9.0;
  const double w = (z - 11.5) / 14.0;
  const bool body = u * u + v * v < 1.0;
  const double organ = std::max(0.0, 1.0 - 8.0 * ((u - 0.4) * (u - 0.4) + v * v + w * w));
  if (series.modality == "CT") {
    return body ? static_cast<int>(40.0 + series.bright + 150.0 * organ) : -1000;
  }
  return body ? static_cast<int>(200.0 + series.bright + 300.0 * organ) : 0;
}

std::string slice_bytes(const Series& series, int z) {
  const std::string number = std::to_string(z + 1);
  const bool ct = series.modality == "CT";
  std::string data = element(0x00080008, "CS", series.image_type);
  data += element(0x00080016, "UI", ct ? "1.2.840.10008.5.1.4.1.1.2" : "1.2.840.10008.5.1.4.1.1.4");
  data += element(0x00080018, "UI", series.uid + "." + number);
  data += element(0x00080050, "SH", series.patient);
  data += element(0x00080060, "CS", series.modality);
  data += element(0x00080070, "LO", "SIEMENS");
  data += element(0x00080090, "PN", series.name);
  data += element(0x0008103E, "LO", series.description);
  data += element(0x00100010, "PN", series.name);
  data += element(0x00100020, "LO", series.patient);
  data += element(0x00100030, "DA", "19500101");
  if (!series.agent.empty()) data += element(0x00180010, "LO", series.agent);
  data += element(0x00180050, "DS", "5");
  if (ct) data += element(0x00180060, "DS", "120");
  data += element(0x0020000D, "UI", "1.2.826.99." + std::to_string(series.patient.size()));
  data += element(0x0020000E, "UI", series.uid);
  data += element(0x00200013, "IS", number);
  const std::string along = std::to_string(5 * z);
  data += element(0x00200032, "DS", series.coronal ? "0\\" + along + "\\0" : "0\\0\\" + along);
  data += element(0x00200037, "DS", series.coronal ? "1\\0\\0\\0\\0\\-1" : "1\\0\\0\\0\\1\\0");
  data += element(0x00280002, "US", little(1, 2));
  data += element(0x00280004, "CS", "MONOCHROME2");
  data += element(0x00280010, "US", little(kRows, 2));
  data += element(0x00280011, "US", little(kColumns, 2));
  data += element(0x00280030, "DS", "2\\2");
  data += element(0x00280100, "US", little(16, 2));
  data += element(0x00280101, "US", little(16, 2));
  data += element(0x00280102, "US", little(15, 2));
  data += element(0x00280103, "US", little(1, 2));
  if (ct) data += element(0x00281052, "DS", "0") + element(0x00281053, "DS", "1");
  std::string pixels;
  for (int y = 0; y < kRows; ++y) {
    for (int x = 0; x < kColumns; ++x) {
      pixels += little(static_cast<std::uint16_t>(value_at(series, x, y, z)), 2);
    }
  }
  data += element(0x7FE00010, "OW", pixels);
  return std::string(128, '\0') + "DICM" + element(0x00020010, "UI", "1.2.840.10008.1.2.1") + data;
}

void write_series(const fs::path& folder, const Series& series, const std::string& file) {
  for (int z = 0; z < series.slices; ++z) {
    char name[16];
    std::snprintf(name, sizeof name, "%03d.dcm", z);
    med3d::write_file_atomic(folder / (file + "-" + name), slice_bytes(series, z));
  }
}

void make(const fs::path& out) {
  const fs::path dicom = out / "dicom";
  Series series;
  series.patient = "TCGA-AA-0001";
  series.description = "ABD arterial 5mm axial";
  series.agent = "OMNIPAQUE";
  series.uid = "1.2.826.1";
  write_series(dicom, series, "a");
  series.modality = "MR";
  series.description = "T1 axial portal venous";
  series.uid = "1.2.826.2";
  write_series(dicom, series, "b");
  series.modality = "CT";
  series.description = "localizer";
  series.image_type = "ORIGINAL\\PRIMARY\\LOCALIZER";
  series.uid = "1.2.826.3";
  series.coronal = true;
  series.slices = 2;
  write_series(dicom, series, "c");

  series = {};
  series.patient = "TCGA-AA-0002";
  series.description = "venous axial";
  series.agent = "OMNIPAQUE";
  series.uid = "1.2.826.4";
  series.bright = 10.0;
  write_series(dicom, series, "d");
  const std::string whole = slice_bytes(series, 7);
  med3d::write_file_atomic(dicom / "d-007.dcm", whole.substr(0, whole.size() - 100));

  series.patient = "TCGA-AA-0003";
  series.uid = "1.2.826.5";
  write_series(dicom, series, "e");
  fs::remove(dicom / "e-011.dcm");
  fs::remove(dicom / "e-012.dcm");

  series.patient = "CANARY-4711";
  series.name = "CANARY^JANE";
  series.uid = "1.2.826.6";
  series.bright = 20.0;
  write_series(dicom / "CANARY_JANE 1950", series, "CANARY");
  med3d::write_file_atomic(dicom / "notes.txt", "no scan\n");

  for (int p = 0; p < 2; ++p) {
    med3d::Volume volume;
    volume.size = {kColumns, kRows, kSlices};
    volume.spacing_mm = {2, 2, 5};
    for (int i = 0; i < 3; ++i) {
      volume.patient_from_voxel.m[static_cast<std::size_t>(i)][static_cast<std::size_t>(i)] =
          volume.spacing_mm[static_cast<std::size_t>(i)];
    }
    series.bright = 5.0 * p;
    for (int z = 0; z < kSlices; ++z) {
      for (int y = 0; y < kRows; ++y) {
        for (int x = 0; x < kColumns; ++x) {
          volume.voxels.push_back(static_cast<float>(value_at(series, x, y, z)));
        }
      }
    }
    med3d::write_nifti(out / "nifti" / ("scan" + std::to_string(p) + ".nii.gz"), volume);
  }
  med3d::write_file_atomic(out / "nifti/scans.csv",
                           "path,case_id,modality\nscan0.nii.gz,K1,CT\nscan1.nii.gz,K2,CT\n");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: make_scans FOLDER\n");
    return 2;
  }
  try {
    make(argv[1]);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "make_scans: %s\n", error.what());
    return 1;
  }
}
