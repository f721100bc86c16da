#include "med3d/nn/volume_classifier.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <utility>

#include "med3d/core/error.h"
#include "med3d/core/limits.h"
#include "med3d/core/random.h"
#include "med3d/core/text.h"
#include "med3d/nn/internal/loss.h"
#include "med3d/nn/internal/option_check.h"
#include "med3d/nn/internal/random_stream.h"
#include "med3d/nn/internal/trainer.h"
#include "med3d/nn/internal/volume_network.h"
#include "med3d/stats/curves.h"

namespace med3d::nn {
namespace {

constexpr std::size_t kEvaluationBatch = 16;

void check(const char* field, auto value, bool allowed, const char* expected) {
  check_option("volume training option", field, value, allowed, expected);
}

std::size_t voxels_of(const VolumeShape& extent) {
  std::uint64_t voxels = 1;
  for (const std::int64_t side : extent) {
    if (side < 1) {
      throw Error(
          ErrorKind::kUsage,
          "a volume with a side of " + std::to_string(side) + " voxels, expected at least 1");
    }
    voxels = checked_multiply(voxels, static_cast<std::uint64_t>(side), "a volume");
  }
  if (voxels > limits().array_bytes / sizeof(float)) {
    throw Error(ErrorKind::kUsage,
                "a volume of " + std::to_string(voxels) + " voxels is beyond the limit of memory");
  }
  return static_cast<std::size_t>(voxels);
}

void check_side(const VolumeSet& set, std::span<const std::uint8_t> y, const char* what) {
  voxels_of(set.extent);
  if (set.size != y.size()) {
    throw Error(ErrorKind::kData,
                std::string(what) + ": " + std::to_string(set.size) + " volumes but " +
                    std::to_string(y.size()) + " labels");
  }
  std::array<std::size_t, 2> count = {0, 0};
  for (std::size_t i = 0; i < y.size(); ++i) {
    if (y[i] > 1) {
      throw Error(ErrorKind::kData,
                  std::string(what) + ": label of volume " + std::to_string(i) + " is " +
                      std::to_string(y[i]) + ", expected 0 or 1");
    }
    ++count[y[i]];
  }
  if (count[0] == 0 || count[1] == 0) {
    throw Error(ErrorKind::kData,
                std::string(what) + ": " + std::to_string(count[0]) + " volumes of class 0 and " +
                    std::to_string(count[1]) + " of class 1, expected some of each");
  }
}

void check_finite(std::span<const float> volume, std::size_t i) {
  const auto bad =
      std::find_if(volume.begin(), volume.end(), [](float v) { return !std::isfinite(v); });
  if (bad == volume.end()) return;
  throw Error(ErrorKind::kData,
              "volume " + std::to_string(i) + ": voxel " + std::to_string(bad - volume.begin()) +
                  " is not finite");
}

// One volume with flips, shift and intensity of this place in this epoch, whatever batch it is in.
class Augmentation {
 public:
  Augmentation(const VolumeTrainingOptions& options, const VolumeShape& extent)
      : options_(options), extent_(extent), source_(voxels_of(extent)) {}

  void apply(std::uint64_t epoch, std::uint64_t place, std::span<float> volume) {
    RandomStream random(derive_seed(options_.seed, "augment", {epoch, place}));
    std::array<bool, 3> flip{};
    std::array<std::int64_t, 3> shift{};
    for (std::size_t a = 0; a < 3; ++a) {
      flip[a] = random.uniform() < 0.5 && options_.flip[a];
      shift[a] = static_cast<std::int64_t>(
                     random.below(2 * static_cast<std::size_t>(options_.shift) + 1)) -
                 options_.shift;
    }
    const double size = options_.intensity;
    const auto factor = static_cast<float>(1.0 + (2.0 * random.uniform() - 1.0) * size);
    const auto offset = static_cast<float>((2.0 * random.uniform() - 1.0) * size);
    std::copy(volume.begin(), volume.end(), source_.begin());
    const auto from = [&](std::size_t axis, std::int64_t i) {
      const std::int64_t last = extent_[axis] - 1;
      const std::int64_t moved = std::clamp(i - shift[axis], std::int64_t{0}, last);
      return flip[axis] ? last - moved : moved;
    };
    float* out = volume.data();
    for (std::int64_t z = 0; z < extent_[0]; ++z) {
      for (std::int64_t y = 0; y < extent_[1]; ++y) {
        const float* row = source_.data() + (from(0, z) * extent_[1] + from(1, y)) * extent_[2];
        for (std::int64_t x = 0; x < extent_[2]; ++x) *out++ = row[from(2, x)] * factor + offset;
      }
    }
  }

 private:
  const VolumeTrainingOptions& options_;
  VolumeShape extent_;
  std::vector<float> source_;
};

// Logits, and embeddings where they are wanted, of all volumes of a set.
VolumeNetwork::Outputs evaluate(const VolumeNetwork& network, const VolumeSet& set, int threads) {
  const std::size_t voxels = voxels_of(set.extent);
  VolumeNetwork::Outputs out;
  std::vector<float> batch;
  for (std::size_t begin = 0; begin < set.size; begin += kEvaluationBatch) {
    const std::size_t end = std::min(set.size, begin + kEvaluationBatch);
    batch.resize((end - begin) * voxels);
    for (std::size_t i = begin; i < end; ++i) {
      const auto volume = std::span(batch).subspan((i - begin) * voxels, voxels);
      set.read(i, volume);
      check_finite(volume, i);
    }
    const VolumeNetwork::Outputs part = network.evaluate(batch, set.extent, threads);
    out.logits.insert(out.logits.end(), part.logits.begin(), part.logits.end());
    out.embeddings.insert(out.embeddings.end(), part.embeddings.begin(), part.embeddings.end());
  }
  return out;
}

double auroc_of(std::span<const std::uint8_t> y, std::span<const float> logits) {
  return stats::auroc(y, std::vector<double>(logits.begin(), logits.end())).value;
}

void take_over(VolumeNetwork& network,
               const VolumeTrainingState& resume,
               const VolumeTrainingOptions& options) {
  if (resume.history.empty() || resume.best_epoch < 0 ||
      static_cast<std::size_t>(resume.best_epoch) >= resume.history.size() ||
      resume.history.size() > static_cast<std::size_t>(options.epochs) ||
      resume.best_state.size() != resume.state.size()) {
    throw Error(ErrorKind::kFormat, "a state of training that contradicts itself");
  }
  network.set_state(resume.state);
  network.set_moments(resume.moments, resume.steps);
}

}  // namespace

void VolumeNetDesign::validate() const {
  for (const int count : blocks) {
    if (count < 1 || count > 64) {
      throw Error(
          ErrorKind::kUsage,
          "a volume net with a group of " + std::to_string(count) + " blocks, expected 1 to 64");
    }
  }
  if (width < 1 || width > 1024) {
    throw Error(ErrorKind::kUsage,
                "a volume net of width " + std::to_string(width) + ", expected 1 to 1024");
  }
}

void VolumeTrainingOptions::validate() const {
  check("epochs", epochs, epochs >= 1, "at least 1");
  check("batch_size", batch_size, batch_size >= 2, "at least 2");
  check("learning_rate",
        learning_rate,
        learning_rate > 0.0 && learning_rate <= 10.0,
        "a number in (0, 10]");
  check("encoder_factor",
        encoder_factor,
        encoder_factor >= 0.0 && encoder_factor <= 1.0,
        "a number in [0, 1]");
  check("weight_decay",
        weight_decay,
        weight_decay >= 0.0 && weight_decay <= 10.0,
        "a number in [0, 10]");
  check("label_smoothing",
        label_smoothing,
        label_smoothing >= 0.0 && label_smoothing < 1.0,
        "a number in [0, 1)");
  check("dropout", dropout, dropout >= 0.0 && dropout < 1.0, "a number in [0, 1)");
  check("shift", shift, shift >= 0 && shift <= 1024, "0 to 1024 voxels");
  check("intensity", intensity, intensity >= 0.0 && intensity < 1.0, "a number in [0, 1)");
  check("patience", patience, patience >= 0, "0 (never) or more");
  check("threads", threads, threads >= 1, "at least 1");
}

struct VolumeClassifier::Impl {
  VolumeNetwork network;
  std::vector<VolumeEpoch> history;
  int best_epoch = -1;
};

VolumeClassifier VolumeClassifier::fit(
    const VolumeNetDesign& design,
    const VolumeSet& training,
    std::span<const std::uint8_t> training_y,
    const VolumeSet& validation,
    std::span<const std::uint8_t> validation_y,
    const VolumeTrainingOptions& options,
    const Parameters& initial,
    const VolumeTrainingState* resume,
    const std::function<void(const VolumeTrainingState&)>& on_epoch) {
  design.validate();
  options.validate();
  check_side(training, training_y, "training");
  check_side(validation, validation_y, "validation");

  TrainingOptions loss_options;
  loss_options.loss = TrainingOptions::Loss::kBce;
  loss_options.class_weights = options.class_weights;
  loss_options.label_smoothing = options.label_smoothing;
  const LossSpec loss = make_loss(loss_options, training_y);
  const auto sampler = options.weighted_sampler ? TrainingOptions::Sampler::kWeighted
                                                : TrainingOptions::Sampler::kShuffle;

  auto impl = std::make_unique<Impl>(Impl{VolumeNetwork(design, options.seed), {}, -1});
  VolumeNetwork& network = impl->network;
  if (!initial.empty()) network.load(initial);
  VolumeTrainingState at;
  if (resume != nullptr) {
    at = *resume;
    take_over(network, at, options);
  }

  const std::size_t voxels = voxels_of(training.extent);
  const auto width = static_cast<std::size_t>(design.embedding_dim());
  Augmentation augmentation(options, training.extent);
  std::vector<float> batch;
  std::vector<float> mask;
  std::vector<float> gradient;
  std::vector<std::uint8_t> labels;

  for (int epoch = static_cast<int>(at.history.size()); epoch < options.epochs && !at.finished;
       ++epoch) {
    const auto e = static_cast<std::uint64_t>(epoch);
    VolumeEpoch now;
    now.learning_rate = options.learning_rate;
    if (options.cosine) {
      now.learning_rate *= (1.0 + std::cos(std::numbers::pi * epoch / options.epochs)) / 2.0;
    }
    RandomStream order_random(derive_seed(options.seed, "order", {e}));
    RandomStream dropout_random(derive_seed(options.seed, "dropout", {e}));
    const std::vector<std::size_t> order = epoch_order(training_y, sampler, order_random);
    std::size_t begin = 0;
    for (const std::size_t end :
         batch_ends(order.size(), static_cast<std::size_t>(options.batch_size))) {
      const std::size_t n = end - begin;
      batch.resize(n * voxels);
      labels.resize(n);
      for (std::size_t k = 0; k < n; ++k) {
        const std::size_t item = order[begin + k];
        const auto volume = std::span(batch).subspan(k * voxels, voxels);
        training.read(item, volume);
        check_finite(volume, item);
        augmentation.apply(e, begin + k, volume);
        labels[k] = training_y[item];
      }
      mask.clear();
      if (options.dropout > 0.0) {
        mask.resize(n * width);
        dropout_random.dropout_mask(mask.data(), mask.size(), options.dropout);
      }
      const std::vector<float> logits =
          network.forward(batch, training.extent, mask, options.threads);
      gradient.resize(n);
      const double batch_loss = loss_and_gradient(loss, logits, labels, gradient);
      if (!std::isfinite(batch_loss)) {
        throw Error(ErrorKind::kNumerical,
                    "epoch " + std::to_string(epoch + 1) +
                        ": the training loss is no finite number; lower the learning rate (" +
                        format_double(now.learning_rate) + ")");
      }
      network.backward(gradient, options.threads);
      network.step(
          now.learning_rate, options.encoder_factor, options.weight_decay, options.decoupled);
      now.training_loss += batch_loss * static_cast<double>(n);
      begin = end;
    }
    now.training_loss /= static_cast<double>(order.size());

    const std::vector<float> logits = evaluate(network, validation, options.threads).logits;
    now.validation_loss = loss_and_gradient(loss, logits, validation_y, {});
    if (!std::isfinite(now.validation_loss)) {
      throw Error(ErrorKind::kNumerical,
                  "epoch " + std::to_string(epoch + 1) +
                      ": the validation loss is no finite number; lower the learning rate (" +
                      format_double(now.learning_rate) + ")");
    }
    now.validation_auroc = auroc_of(validation_y, logits);

    at.state = network.state();
    at.moments = network.moments(at.steps);
    const VolumeEpoch* best =
        at.best_epoch < 0 ? nullptr : &at.history[static_cast<std::size_t>(at.best_epoch)];
    if (best == nullptr || now.validation_auroc > best->validation_auroc ||
        (now.validation_auroc == best->validation_auroc &&
         now.validation_loss < best->validation_loss)) {
      at.best_epoch = epoch;
      at.best_state = at.state;
    }
    at.history.push_back(now);
    at.finished = epoch + 1 == options.epochs ||
                  (options.patience > 0 && epoch - at.best_epoch >= options.patience);
    if (on_epoch) on_epoch(at);
  }

  network.set_state(at.best_state);
  impl->history = std::move(at.history);
  impl->best_epoch = at.best_epoch;
  return VolumeClassifier(std::move(impl));
}

VolumeClassifier VolumeClassifier::from_parameters(const VolumeNetDesign& design,
                                                   const Parameters& parameters) {
  design.validate();
  find_parameter(parameters, "fc.weight");  // an encoder alone is no classifier
  auto impl = std::make_unique<Impl>(Impl{VolumeNetwork(design, 0), {}, -1});
  impl->network.load(parameters);
  return VolumeClassifier(std::move(impl));
}

VolumeClassifier::Outputs VolumeClassifier::predict(const VolumeSet& volumes, int threads) const {
  Outputs out;
  const VolumeNetwork::Outputs raw = evaluate(impl_->network, volumes, threads);
  const auto width = static_cast<std::ptrdiff_t>(impl_->network.design().embedding_dim());
  for (std::size_t i = 0; i < raw.logits.size(); ++i) {
    out.logit.push_back(raw.logits[i]);
    out.probability.push_back(sigmoid(raw.logits[i]));
    const auto first = raw.embeddings.begin() + static_cast<std::ptrdiff_t>(i) * width;
    out.embedding.emplace_back(first, first + width);
  }
  return out;
}

Parameters VolumeClassifier::parameters() const { return impl_->network.parameters(); }
const std::vector<VolumeEpoch>& VolumeClassifier::history() const { return impl_->history; }
int VolumeClassifier::best_epoch() const { return impl_->best_epoch; }
const VolumeNetDesign& VolumeClassifier::design() const { return impl_->network.design(); }

VolumeClassifier::VolumeClassifier(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
VolumeClassifier::~VolumeClassifier() = default;
VolumeClassifier::VolumeClassifier(VolumeClassifier&&) noexcept = default;
VolumeClassifier& VolumeClassifier::operator=(VolumeClassifier&&) noexcept = default;

}  // namespace med3d::nn
