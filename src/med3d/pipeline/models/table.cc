#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "med3d/core/error.h"
#include "med3d/core/text.h"
#include "med3d/pipeline/models/rows_internal.h"
#include "med3d/pipeline/models/table_internal.h"

namespace med3d::pipeline {
namespace {

// What is declared of the columns of `table`: loading the cohort has checked the names and left out
// what is dropped, and a model may see a part of the columns only.
tabular::EncoderOptions encoder_options(const Cohort& cohort,
                                        const RunSettings& settings,
                                        const tabular::RawTable& table) {
  tabular::EncoderOptions options;
  const auto& clinical = settings.cohort.clinical;
  options.missing.insert(
      options.missing.end(), cohort.missing_values.begin(), cohort.missing_values.end());
  for (const auto& column : table) {
    const auto& name = column.name;
    if (const auto found = clinical.ordinal.find(name); found != clinical.ordinal.end()) {
      options.ordinal.insert(*found);
    }
    if (std::find(clinical.categorical.begin(), clinical.categorical.end(), name) !=
        clinical.categorical.end()) {
      options.categorical.push_back(name);
    }
  }
  options.missing_indicators = settings.clinical_arm.missing_indicators;
  options.max_missing = settings.clinical_arm.max_missing;
  return options;
}

// The table of every patient who has one.
tabular::RawTable whole_table(const Cohort& cohort) {
  Rows all(cohort.size());
  std::iota(all.begin(), all.end(), std::size_t{0});
  return clinical_table(cohort, rows_with_table(cohort, all).rows);
}

// Whether a column is text is read from all patients: a fact of the table's schema, like its name.
// Else a word that stands only among held-out patients would not be readable there.
void declare_text_columns(const Cohort& cohort,
                          const tabular::RawTable& table,
                          tabular::EncoderOptions& options) {
  auto whole = whole_table(cohort);
  std::erase_if(whole, [&](const tabular::RawColumn& column) {
    return std::none_of(table.begin(), table.end(), [&](const tabular::RawColumn& kept) {
      return kept.name == column.name;
    });
  });
  for (auto& name : tabular::ClinicalEncoder::text_columns(whole, options)) {
    options.categorical.push_back(std::move(name));
  }
}

}  // namespace

tabular::RawTable clinical_table(const Cohort& cohort, const Rows& rows) {
  tabular::RawTable table;
  for (const auto& column : cohort.columns) {
    tabular::RawColumn raw{column.name, {}};
    raw.cells.reserve(rows.size());
    for (const std::size_t row : rows) raw.cells.push_back(column.cells[row]);
    table.push_back(std::move(raw));
  }
  return table;
}

tabular::RawTable chosen_table(const Cohort& cohort,
                               const Rows& rows,
                               const std::vector<std::string>& columns) {
  auto table = clinical_table(cohort, rows);
  if (!columns.empty()) {
    std::vector<std::string> names;
    for (const auto& column : table) names.push_back(column.name);
    for (const auto& wanted : columns) {
      if (std::find(names.begin(), names.end(), wanted) == names.end()) {
        throw Error(
            ErrorKind::kUsage,
            fmt::format("the table has no column '{}'{}", wanted, did_you_mean(wanted, names)));
      }
    }
    std::erase_if(table, [&](const tabular::RawColumn& column) {
      return std::find(columns.begin(), columns.end(), column.name) == columns.end();
    });
  }
  return table;
}

std::vector<std::string> stage_and_grade_columns(const Cohort& cohort) {
  std::vector<std::string> columns;
  for (const auto& column : cohort.columns) {
    const std::string name = to_lower(column.name);
    if (name.find("stage") != std::string::npos || name.find("grade") != std::string::npos) {
      columns.push_back(column.name);
    }
  }
  return columns;
}

tabular::ClinicalEncoder fit_encoder(const Cohort& cohort,
                                     const RunSettings& settings,
                                     const tabular::RawTable& training) {
  auto options = encoder_options(cohort, settings, training);
  declare_text_columns(cohort, training, options);
  return tabular::ClinicalEncoder::fit(training, options);
}

std::vector<std::string> encoder_warnings(const tabular::ClinicalEncoder& encoder,
                                          const Cohort& cohort,
                                          const Rows& rows) {
  std::vector<std::string> warnings;
  const Rows present = rows_with_table(cohort, rows).rows;
  if (!present.empty()) (void)encoder.transform(clinical_table(cohort, present), &warnings);
  return warnings;
}

Matrix<double> encode_all_rows(const Cohort& cohort,
                               const RunSettings& settings,
                               const Rows& rows) {
  const auto table = chosen_table(cohort, rows, settings.clinical_arm.columns);
  return fit_encoder(cohort, settings, table).transform(table);
}

void check_table(const Cohort& cohort, const RunSettings& settings) {
  if (cohort.columns.empty()) return;
  try {
    const auto table = whole_table(cohort);
    (void)tabular::ClinicalEncoder::text_columns(table, encoder_options(cohort, settings, table));
  } catch (const Error&) {
    rethrow_with_context("clinical table (patients with a covariate, in ascending order of id)");
  }
}

}  // namespace med3d::pipeline
