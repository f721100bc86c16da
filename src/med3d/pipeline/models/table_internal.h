// The clinical table as models see it.
#pragma once

#include <string>
#include <vector>

#include "med3d/pipeline/models.h"
#include "med3d/tabular/clinical_encoder.h"

namespace med3d::pipeline {

tabular::RawTable clinical_table(const Cohort& cohort, const Rows& rows);

// The rows of the table, restricted to chosen columns; all of them where none is chosen.
// Throws Error(kUsage) with the nearest name for a column that is not there.
tabular::RawTable chosen_table(const Cohort& cohort,
                               const Rows& rows,
                               const std::vector<std::string>& columns);

// Columns that say stage or grade, for the baseline every clinician knows.
std::vector<std::string> stage_and_grade_columns(const Cohort& cohort);

tabular::ClinicalEncoder fit_encoder(const Cohort& cohort,
                                     const RunSettings& settings,
                                     const tabular::RawTable& training);

// Cells of these patients that the encoder has not met before.
std::vector<std::string> encoder_warnings(const tabular::ClinicalEncoder& encoder,
                                          const Cohort& cohort,
                                          const Rows& rows);

}  // namespace med3d::pipeline
