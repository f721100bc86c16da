// The pseudonym that joins a patient's table row, scans and slides, and what its spelling tells.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace med3d {

// The patient's id from the name of a patient, sample, slide, scan or feature file:
//   TCGA   the first 12 characters           TCGA-BP-4352-01Z-00-DX1.svs -> TCGA-BP-4352
//   CPTAC  C3L-00004 or C3N-01078            C3L-00004-21.npz            -> C3L-00004
//   other  the name unchanged, spaces at its ends removed
// TCGA and CPTAC ids are recognised in any case and returned in capitals.
std::string case_id_of(std::string_view name);

// The form in which two spellings of one id are equal: case_id_of in lower case, with every run of
// spaces, '_', '.' and '-' as one '-'. Finds one patient under two spellings across splits.
std::string normalised_case_id(std::string_view name);

enum class SlideKind { kUnknown, kDiagnostic, kTopFrozen, kBottomFrozen, kMiddleFrozen };
enum class SampleKind { kUnknown, kTumour, kNormal };

struct SlideFacts {
  SlideKind slide = SlideKind::kUnknown;     // TCGA: DX = FFPE diagnostic; TS, BS, MS = frozen
  SampleKind sample = SampleKind::kUnknown;  // TCGA sample type 01-09 tumour, 10-19 normal
};
// From a TCGA slide barcode (TCGA-A3-3306-01A-01-TS1 ...); CPTAC names carry neither.
SlideFacts slide_facts(std::string_view name);
std::string to_string(SlideKind kind);   // "DX", "TS", "BS", "MS", "unknown"
std::string to_string(SampleKind kind);  // "tumour", "normal", "unknown"

// "TCGA", "CPTAC" or "other": which archive an id is from.
std::string source_of(std::string_view case_id);
// The TCGA tissue source site ("BP" of TCGA-BP-4352), the stand-in for the hospital.
std::optional<std::string> site_of(std::string_view case_id);

}  // namespace med3d
