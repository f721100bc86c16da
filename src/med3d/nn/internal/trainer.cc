#include "med3d/nn/internal/trainer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>
#include <string>

#include "med3d/core/error.h"
#include "med3d/core/random.h"
#include "med3d/core/text.h"

namespace med3d::nn {
namespace {

// torch.optim.lr_scheduler: ReduceLROnPlateau(factor=.5, patience=5), StepLR(30, .1),
// CosineAnnealingLR(T_max=epochs), each with its other defaults.
class LearningRate {
 public:
  explicit LearningRate(const TrainingOptions& options)
      : options_(options), rate_(options.learning_rate) {}

  double rate() const { return rate_; }

  void epoch_ended(int epoch, double monitored_loss) {
    switch (options_.scheduler) {
      case TrainingOptions::Scheduler::kNone:
        return;
      case TrainingOptions::Scheduler::kStep:
        if ((epoch + 1) % 30 == 0) rate_ *= 0.1;
        return;
      case TrainingOptions::Scheduler::kCosine:
        rate_ = options_.learning_rate *
                (1.0 + std::cos(std::numbers::pi * (epoch + 1) / options_.epochs)) / 2.0;
        return;
      case TrainingOptions::Scheduler::kPlateau:
        if (monitored_loss < best_ * (1.0 - 1e-4)) {
          best_ = monitored_loss;
          bad_epochs_ = 0;
        } else if (++bad_epochs_ > 5) {
          if (rate_ * 0.5 > 1e-8) rate_ *= 0.5;
          bad_epochs_ = 0;
        }
        return;
    }
  }

 private:
  const TrainingOptions& options_;
  double rate_;
  double best_ = std::numeric_limits<double>::infinity();
  int bad_epochs_ = 0;
};

struct Scores {
  double accuracy = 0.0;
  double balanced_accuracy = 0.0;
};

Scores score(const LossSpec& loss, std::span<const float> logits, std::span<const std::uint8_t> y) {
  std::array<double, 2> right = {0.0, 0.0};
  std::array<double, 2> count = {0.0, 0.0};
  for (std::size_t i = 0; i < y.size(); ++i) {
    const bool positive = probability(loss, logits.data() + i * loss.columns()) >= 0.5;
    count[y[i]] += 1.0;
    right[y[i]] += positive == (y[i] == 1) ? 1.0 : 0.0;
  }
  return {(right[0] + right[1]) / static_cast<double>(y.size()),
          (right[0] / count[0] + right[1] / count[1]) / 2.0};
}

void check_validation(const TrainingOptions& options, std::span<const std::uint8_t> y) {
  if (y.empty()) {
    if (options.early_stopping_patience > 0) {
      throw Error(ErrorKind::kUsage,
                  "early_stopping_patience is " + std::to_string(options.early_stopping_patience) +
                      " but there is no validation set to watch; pass one, or set it to 0");
    }
    if (options.select != TrainingOptions::Select::kLast) {
      throw Error(ErrorKind::kUsage,
                  "the best epoch was asked for but there is no validation set to find it on; pass "
                  "one, or select the last epoch");
    }
    return;
  }
  std::size_t positives = 0;
  for (std::size_t i = 0; i < y.size(); ++i) {
    if (y[i] > 1) {
      throw Error(ErrorKind::kData,
                  "validation label of row " + std::to_string(i) + " is " + std::to_string(y[i]) +
                      ", expected 0 or 1");
    }
    positives += y[i];
  }
  if (options.select == TrainingOptions::Select::kBestBalancedAccuracy &&
      (positives == 0 || positives == y.size())) {
    throw Error(ErrorKind::kData,
                "the epoch of best balanced accuracy was asked for, but the " +
                    std::to_string(y.size()) + " validation labels are all " +
                    (positives == 0 ? "0" : "1"));
  }
}

}  // namespace

void TrainingTask::pool(std::span<const float> outputs, std::vector<float>& logits) {
  logits.assign(outputs.begin(), outputs.end());
}

void TrainingTask::pool_gradient(std::span<const float>,
                                 std::span<const float> logit_gradient,
                                 std::vector<float>& output_gradient) {
  output_gradient.assign(logit_gradient.begin(), logit_gradient.end());
}

std::vector<std::size_t> epoch_order(std::span<const std::uint8_t> y,
                                     TrainingOptions::Sampler sampler,
                                     RandomStream& random) {
  std::vector<std::size_t> order(y.size());
  if (sampler == TrainingOptions::Sampler::kShuffle) {
    std::iota(order.begin(), order.end(), std::size_t{0});
    random.shuffle(order);
    return order;
  }
  // Weights N / n_class give each class the same total, so a draw is a fair coin for the class and
  // then any of its items.
  std::array<std::vector<std::size_t>, 2> of_class;
  for (std::size_t i = 0; i < y.size(); ++i) of_class[y[i]].push_back(i);
  for (std::size_t& item : order) {
    const auto& members = of_class[random.next() >> 63];
    item = members[random.below(members.size())];
  }
  return order;
}

std::vector<std::size_t> batch_ends(std::size_t n, std::size_t batch_size) {
  std::vector<std::size_t> ends;
  for (std::size_t end = batch_size; end < n; end += batch_size) ends.push_back(end);
  // A batch of one item has no variance for a batch norm to divide by.
  if (!ends.empty() && n - ends.back() == 1) ends.pop_back();
  ends.push_back(n);
  return ends;
}

std::vector<float> column_sd(const Matrix<float>& x) {
  std::vector<float> sd(x.cols());
  for (std::size_t j = 0; j < x.cols(); ++j) {
    double sum = 0.0;
    for (std::size_t i = 0; i < x.rows(); ++i) sum += x(i, j);
    const double mean = sum / static_cast<double>(x.rows());
    double squares = 0.0;
    for (std::size_t i = 0; i < x.rows(); ++i) squares += (x(i, j) - mean) * (x(i, j) - mean);
    sd[j] = static_cast<float>(std::sqrt(squares / static_cast<double>(x.rows())));
  }
  return sd;
}

void check_rows(const Matrix<float>& x, std::size_t inputs, const char* what) {
  if (x.rows() == 0) throw Error(ErrorKind::kData, std::string(what) + ": no rows");
  if (x.cols() != inputs) {
    throw Error(ErrorKind::kData,
                std::string(what) + ": " + std::to_string(x.cols()) + " columns, expected " +
                    std::to_string(inputs));
  }
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (!std::isfinite(x.data()[i])) {
      throw Error(ErrorKind::kData,
                  std::string(what) + ": row " + std::to_string(i / inputs) + ", column " +
                      std::to_string(i % inputs) + " is not finite; impute it first");
    }
  }
}

LearningCurve train(Network& network,
                    TrainingTask& task,
                    const LossSpec& loss,
                    const TrainingOptions& options) {
  const std::span<const std::uint8_t> y = task.labels();
  const std::span<const std::uint8_t> y_val = task.validation_labels();
  check_validation(options, y_val);

  RandomStream order_random(derive_seed(options.seed, "order"));
  RandomStream dropout(derive_seed(options.seed, "dropout"));
  LearningRate schedule(options);
  LearningCurve curve;

  std::vector<float> best_state;
  double best_loss = std::numeric_limits<double>::infinity();
  double best_accuracy = -1.0;
  int best_epoch = -1;

  std::vector<float> rows;
  std::vector<float> outputs;
  std::vector<float> logits;
  std::vector<float> logit_gradient;
  std::vector<float> output_gradient;
  std::vector<std::uint8_t> labels;
  const std::size_t inputs = network.spec().inputs;

  for (int epoch = 0; epoch < options.epochs; ++epoch) {
    const std::vector<std::size_t> order = epoch_order(y, options.sampler, order_random);
    double loss_sum = 0.0;
    double right = 0.0;
    std::size_t begin = 0;
    for (const std::size_t end :
         batch_ends(order.size(), static_cast<std::size_t>(options.batch_size))) {
      const std::span<const std::size_t> items(order.data() + begin, end - begin);
      labels.clear();
      for (const std::size_t item : items) labels.push_back(y[item]);
      task.make_batch(items, rows);
      network.forward(rows.data(), rows.size() / inputs, dropout, outputs);
      task.pool(outputs, logits);
      logit_gradient.resize(logits.size());
      const double batch_loss = loss_and_gradient(loss, logits, labels, logit_gradient);
      if (!std::isfinite(batch_loss)) {
        throw Error(ErrorKind::kNumerical,
                    "epoch " + std::to_string(epoch + 1) +
                        ": the training loss is no finite number; lower the learning rate (" +
                        format_double(schedule.rate()) + ") or standardise the features");
      }
      task.pool_gradient(outputs, logit_gradient, output_gradient);
      network.backward(output_gradient);
      network.step(schedule.rate(), options.weight_decay);
      loss_sum += batch_loss * static_cast<double>(items.size());
      right += score(loss, logits, labels).accuracy * static_cast<double>(items.size());
      begin = end;
    }
    curve.training_loss.push_back(loss_sum / static_cast<double>(order.size()));
    curve.training_accuracy.push_back(right / static_cast<double>(order.size()));
    curve.learning_rate.push_back(schedule.rate());
    if (y_val.empty()) {
      schedule.epoch_ended(epoch, curve.training_loss.back());
      continue;
    }

    const std::vector<float> val_logits = task.validation_logits(network);
    const double val_loss = loss_and_gradient(loss, val_logits, y_val, {});
    const Scores val = score(loss, val_logits, y_val);
    curve.validation_loss.push_back(val_loss);
    curve.validation_accuracy.push_back(val.accuracy);
    curve.validation_balanced_accuracy.push_back(val.balanced_accuracy);
    schedule.epoch_ended(epoch, val_loss);

    const bool by_accuracy = options.select == TrainingOptions::Select::kBestBalancedAccuracy;
    const bool better = by_accuracy
                            ? val.balanced_accuracy > best_accuracy ||
                                  (val.balanced_accuracy == best_accuracy && val_loss < best_loss)
                            : val_loss < best_loss;
    if (better) {
      best_loss = val_loss;
      best_accuracy = val.balanced_accuracy;
      best_epoch = epoch;
      if (options.select != TrainingOptions::Select::kLast) best_state = network.state();
    } else if (options.early_stopping_patience > 0 &&
               epoch - best_epoch >= options.early_stopping_patience) {
      curve.stopped_early = true;
      break;
    }
  }

  curve.best_epoch = static_cast<int>(curve.training_loss.size()) - 1;
  if (!best_state.empty()) {
    network.set_state(best_state);
    curve.best_epoch = best_epoch;
  }
  return curve;
}

}  // namespace med3d::nn
