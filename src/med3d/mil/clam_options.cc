#include <fmt/format.h>

#include <array>
#include <cmath>
#include <utility>

#include "med3d/core/error.h"
#include "med3d/core/text.h"
#include "med3d/mil/clam.h"

namespace med3d::mil {
namespace {

template <class Kind, std::size_t n>
using Names = std::array<std::pair<Kind, std::string_view>, n>;

constexpr Names<ModelType, 6> kModelTypes{{{ModelType::kClamSb, "clam_sb"},
                                           {ModelType::kClamMb, "clam_mb"},
                                           {ModelType::kMil, "mil"},
                                           {ModelType::kAbmil, "abmil"},
                                           {ModelType::kMean, "mean"},
                                           {ModelType::kMax, "max"}}};
constexpr Names<ModelSize, 2> kSizes{{{ModelSize::kSmall, "small"}, {ModelSize::kBig, "big"}}};
constexpr Names<BagLossKind, 3> kBagLosses{
    {{BagLossKind::kCe, "ce"}, {BagLossKind::kSvm, "svm"}, {BagLossKind::kNllSurv, "nll_surv"}}};
constexpr Names<InstanceLossKind, 2> kInstanceLosses{
    {{InstanceLossKind::kSvm, "svm"}, {InstanceLossKind::kCe, "ce"}}};
constexpr Names<Optimiser, 2> kOptimisers{{{Optimiser::kAdam, "adam"}, {Optimiser::kSgd, "sgd"}}};

template <class Kind, std::size_t n>
std::string_view name_of(const Names<Kind, n>& names, Kind kind) {
  for (const auto& [value, name] : names) {
    if (value == kind) return name;
  }
  return "unknown";
}

template <class Kind, std::size_t n>
Kind kind_of(const Names<Kind, n>& names, std::string_view name, std::string_view field) {
  std::vector<std::string> all;
  for (const auto& [value, known] : names) {
    if (known == name) return value;
    all.emplace_back(known);
  }
  throw Error(
      ErrorKind::kUsage,
      fmt::format(
          "{} is '{}', expected {}{}", field, name, join(all, ", "), did_you_mean(name, all)));
}

[[noreturn]] void refuse(std::string_view field, double value, std::string_view expected) {
  throw Error(ErrorKind::kUsage, fmt::format("{} is {}, expected {}", field, value, expected));
}

}  // namespace

std::string_view to_string(ModelType type) { return name_of(kModelTypes, type); }
std::string_view to_string(ModelSize size) { return name_of(kSizes, size); }
std::string_view to_string(BagLossKind kind) { return name_of(kBagLosses, kind); }
std::string_view to_string(InstanceLossKind kind) { return name_of(kInstanceLosses, kind); }
std::string_view to_string(Optimiser kind) { return name_of(kOptimisers, kind); }

ModelType model_type_of(std::string_view name) { return kind_of(kModelTypes, name, "model_type"); }
ModelSize model_size_of(std::string_view name) { return kind_of(kSizes, name, "model_size"); }
BagLossKind bag_loss_of(std::string_view name) { return kind_of(kBagLosses, name, "bag_loss"); }
InstanceLossKind instance_loss_of(std::string_view name) {
  return kind_of(kInstanceLosses, name, "inst_loss");
}
Optimiser optimiser_of(std::string_view name) { return kind_of(kOptimisers, name, "opt"); }

std::size_t ClamOptions::hidden() const { return hidden_dim == 0 ? 512 : hidden_dim; }

std::size_t ClamOptions::attention() const {
  if (attention_dim != 0) return attention_dim;
  return model_size == ModelSize::kBig ? 384 : 256;
}

bool ClamOptions::has_attention() const {
  return model_type == ModelType::kClamSb || model_type == ModelType::kClamMb ||
         model_type == ModelType::kAbmil;
}

std::size_t ClamOptions::heads() const { return model_type == ModelType::kClamMb ? n_classes : 1; }

bool ClamOptions::has_instances() const {
  return model_type == ModelType::kClamSb || model_type == ModelType::kClamMb;
}

bool ClamOptions::clusters() const { return has_instances() && !no_inst_cluster; }

void ClamOptions::validate() const {
  constexpr std::size_t kWidest = 1U << 20U;
  if (n_classes < 2 || n_classes > 10'000) {
    refuse("n_classes", static_cast<double>(n_classes), "2 to 10000");
  }
  if (embed_dim < 1 || embed_dim > kWidest) {
    refuse("embed_dim", static_cast<double>(embed_dim), "1 to 1048576");
  }
  if (hidden_dim > kWidest) refuse("hidden_dim", static_cast<double>(hidden_dim), "0 to 1048576");
  if (attention_dim > kWidest) {
    refuse("attention_dim", static_cast<double>(attention_dim), "0 to 1048576");
  }
  if (!(drop_out >= 0.0 && drop_out < 1.0)) refuse("drop_out", drop_out, "0 to below 1");
  if (k_sample < 1) refuse("k_sample", 0, "at least 1");
  if (!(bag_weight >= 0.0 && bag_weight <= 1.0)) refuse("bag_weight", bag_weight, "0 to 1");
  if (!(alpha_surv >= 0.0 && alpha_surv < 1.0)) refuse("alpha_surv", alpha_surv, "0 to below 1");
  if (!(lr > 0.0) || !std::isfinite(lr)) refuse("lr", lr, "above 0");
  if (!(reg >= 0.0) || !std::isfinite(reg)) refuse("reg", reg, "0 or more");
  if (max_epochs < 1) refuse("max_epochs", max_epochs, "at least 1");
  if (patience < 1) refuse("patience", patience, "at least 1");
  if (stop_epoch < 0) refuse("stop_epoch", stop_epoch, "0 or more");
  if (threads < 1) refuse("threads", threads, "at least 1");
  if (bag_loss == BagLossKind::kNllSurv && clusters()) {
    throw Error(ErrorKind::kUsage,
                "bag_loss nll_surv has no classes to cluster instances by, expected "
                "no_inst_cluster or model_type abmil");
  }
}

}  // namespace med3d::mil
