// How the page is put together: one builder whose sections lie in page.cc, page_survival.cc (time
// to event) and page_checklists.cc (TRIPOD+AI, PROBAST).
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "med3d/report/page.h"

namespace med3d::report {

class Builder {
 public:
  explicit Builder(const Document& document) : document_(document) {}

  Page build();

 private:
  // Fragments; each returns markup, "" for a section that has nothing.
  std::string lede() const;
  std::string banners() const;
  std::string endpoint() const;
  std::string protocol() const;
  std::string verdicts() const;
  std::string cards() const;
  std::string headline();
  std::string results_table(const std::string& set);
  std::string cohort();
  std::string models();
  std::string model_details(const Model& model, bool open);
  std::string metrics_table(const Model& model);
  std::string comparisons();
  std::string availability_results();
  std::string fusion();
  std::string paper_leak();
  std::string raw() const;
  std::string tripod() const;
  std::string probast() const;

  // Time to event.
  std::string survival();
  std::string survival_follow_up(const Survival& survival);
  std::string survival_table(const Survival& survival, const std::string& set);
  std::string survival_curves_of_best(const Survival& survival, const std::string& months);
  std::string survival_beside(const Survival& survival);
  std::string survival_comparisons(const Survival& survival);
  std::string survival_optimism(const Survival& survival);
  std::string survival_sample_size(const Survival& survival);
  std::string survival_checks(const Survival& survival);
  std::string survival_metrics(const SurvivalModel& model);
  std::string notes() const;

  // One row for each pair of model and baseline, `who` its first cell.
  struct BesidePair {
    std::string who, set;
    const BesideRow* row;
  };
  std::string beside_table(const std::string& metric, const std::vector<BesidePair>& pairs);
  std::string clinical_scores();
  std::vector<const Model*> best_of_families() const;
  // The difference of a model to what stands beside it, as a cell.
  std::string difference_cell(const BesideRow* row);

  std::string facts(const std::vector<Fact>& facts) const;
  std::string findings(const std::vector<Banner>& findings) const;
  // `heading` stands above the drawing where its place already says the rest of the title.
  std::string figure(Figure figure,
                     const std::string& wanted_id,
                     bool wide,
                     const std::string& heading = "");
  std::string estimate_cell(const Estimate* estimate);
  std::string not_estimable(const std::string& reason);
  std::string unique_id(const std::string& wanted);

  const Document& document_;
  std::vector<Figure> figures_;
  std::set<std::string> ids_;
  std::vector<std::string> reasons_;  // numbered from 1 in the order of the page
  std::map<std::string, std::string> model_anchor_;
};

// Shared by the sections.
std::string number_cell(const Count& value);
// A table that scrolls by itself where the page is narrow.
std::string scroll(const std::string& name, const std::string& table);
std::string set_title(const std::string& set);
const Estimate* find_metric(const Metrics& metrics, const std::string& key);
std::string metric_name(const std::string& key);

}  // namespace med3d::report
