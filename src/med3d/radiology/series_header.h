// What the header of one file says of its series: a DICOM file, or a NIfTI file with its sidecar.
//
// Pixels are never read. Text is brought to UTF-8 (ISO 8859-1 where it is no UTF-8 and the file
// names no other character set; else what is not ASCII becomes '?'), control characters become
// spaces, runs of spaces one, and 256 bytes are kept.
//
// Source: DICOM PS3.3 C.7.3.1 (series), C.7.6.1 (image), C.7.6.2 (plane), C.7.6.4 (contrast),
// C.8.3.1 (MR image), C.7.6.16 (functional groups); BIDS 1.8 (names of dcm2niix's sidecars).
// Checked against: pydicom 2.3.1 (tests/reference/series_header.py).
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "med3d/core/json.h"
#include "med3d/radiology/volume.h"

namespace med3d {

// What is known of a series; "" or nothing where it is not said. Free texts (descriptions, the
// contrast agent) may hold a name that somebody typed: they are for rules, not for outputs.
struct SeriesFacts {
  std::string modality;     // "CT", "MR", "SR", ...; "" or letters and digits only
  std::string sop_class;    // UID of the standard; "" for another
  std::string description;  // SeriesDescription
  std::string study_description;
  std::string protocol;  // ProtocolName
  std::string body_part;
  std::string image_type;  // values joined by '\': "ORIGINAL\PRIMARY\AXIAL"
  std::string contrast_agent;
  std::string contrast_route;
  // Seconds from the start of the injection to the acquisition; below 0 it was before. Nothing if
  // either time is missing or they are over an hour apart.
  std::optional<double> contrast_delay_s;
  std::string sequence_name;      // MR: SequenceName or PulseSequenceName
  std::string scanning_sequence;  // MR: "SE", "GR", "IR", "EP" ..., joined by '\'
  std::optional<double> echo_time_ms;
  std::optional<double> repetition_time_ms;
  std::optional<double> inversion_time_ms;
  std::optional<double> flip_angle_degrees;
  std::optional<double> b_value;       // s/mm2, the highest
  std::optional<Plane> plane;          // from ImageOrientationPatient, never from words
  bool several_orientations = false;   // then there is no plane
  std::optional<std::int64_t> slices;  // distinct places along the normal

  friend bool operator==(const SeriesFacts&, const SeriesFacts&) = default;
};

// One file. The first group names a person or an institution's records and must not leave memory.
struct SeriesHeader {
  std::string patient_id;
  std::string study_uid;
  std::string series_uid;
  std::string instance_uid;

  SeriesFacts facts;  // slices of this file alone
  std::optional<std::int64_t> series_number;
  std::string study_date;  // YYYYMMDD as stored, or ""
  std::string series_date;
  std::int64_t columns = 0;  // 0 = no image
  std::int64_t rows = 0;
  std::optional<double> spacing_x_mm;  // between columns
  std::optional<double> spacing_y_mm;
  std::optional<double> thickness_mm;
  std::optional<std::array<double, 6>> orientation;  // row and column direction
  std::int64_t images = 0;                           // frames
  std::vector<double> along_mm;       // place of each frame along its normal; those that have one
  bool directory = false;             // a DICOMDIR: it lists files, and is none of a series
  std::vector<std::string> problems;  // "no position", ...
};

// Reads up to 256 MiB of header, as a rule its first 64 KiB. Files without an image (structured
// reports, segmentations) are headers too.
//
// Throws Error(kFormat | kUnsupported | kIo) as DicomFile::read; the message holds no value of the
// file and no path.
SeriesHeader read_dicom_series_header(const std::filesystem::path& path);

// The header of a .nii or .nii.gz. The sidecar (same name with .json) may give Modality,
// SeriesDescription, StudyDescription, ProtocolName, BodyPartExamined, ImageType,
// ContrastBolusAgent, SequenceName, EchoTime and others in seconds, PatientID, StudyInstanceUID,
// SeriesInstanceUID, SeriesNumber, AcquisitionDate; what it does not say stays empty. The plane is
// that of the slices of constant z. A sidecar that is damaged is a problem of the header.
//
// Throws as read_nifti_header, without the path.
SeriesHeader read_nifti_series_header(const std::filesystem::path& path);

// For a store of headers: all but the four identifying texts, `along_mm` and the numbers of images
// and slices, so that the files of a series have few different ones; the delay is rounded to a
// second. from_json throws Error(kFormat) for what to_json did not write.
Json series_header_to_json(const SeriesHeader& header);
SeriesHeader series_header_from_json(const Json& json);

// Text as described above. `character_set` is SpecificCharacterSet, "" = not said.
std::string readable_text(std::string_view text, std::string_view character_set = "");

}  // namespace med3d
