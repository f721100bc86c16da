// A table with one row per patient, whatever program exported it.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace med3d::pipeline {

struct PatientTable {
  std::string source;  // file name, for messages
  std::string format;  // resolved: "plain", "mmist", "stamp", ...
  std::string id_column;
  std::vector<std::string> header;  // without the id column and columns that were dropped
  std::vector<std::string> ids;     // case_id_of the cell, in the order of the file
  std::vector<std::vector<std::string>> rows;  // (n_patients, header), cells trimmed
  std::size_t row_count = 0;                   // rows of the file that are not blank
  std::size_t mangled_ids = 0;                 // "1.2E+05", "05-Jan": what spreadsheets make of ids
  std::vector<std::pair<std::string, std::string>> dropped;  // column, why
};

// Reads a CSV or TSV file. format as [clinical] format; "auto" looks at the header:
//   mmist       case_id, vital_status_12, Split          stamp       PATIENT
//   porpoise    censorship, survival_months, slide_id    cbioportal  PATIENT_ID or "Patient ID"
//   tcga-cdr    bcr_patient_barcode                      gdc         case_submitter_id
// porpoise, cbioportal and gdc hold several rows of a patient (one per slide, sample, treatment):
// they become one, and a column whose values differ between them is dropped and named. In the other
// formats a second row of a patient is an error.
//
// id_column may be empty: the usual names are looked for, without case, spaces and underscores.
// Throws Error(kNotFound) without an id column, kUnsupported for a spreadsheet file, kFormat as the
// CSV reader, kData with line numbers for a row without an id and for two rows of one patient, also
// under two spellings.
PatientTable read_patient_table(const std::filesystem::path& path,
                                const std::string& format,
                                const std::string& id_column);

// (item, patient) pairs of a slide or scan table: STAMP's PATIENT,FILENAME, CLAM's
// case_id,slide_id. Column names may be empty: the usual ones are looked for. Errors as above.
using ItemMap = std::vector<std::pair<std::string, std::string>>;
ItemMap read_item_map(const std::filesystem::path& path,
                      const std::string& case_column,
                      const std::string& item_column);

// The name without the extension of a feature, slide or scan file; other dots stay:
// "TCGA-A3-3306-01Z-00-DX1.9674290b.svs" -> "TCGA-A3-3306-01Z-00-DX1.9674290b".
std::string io_stem(const std::string& file_name);

}  // namespace med3d::pipeline
