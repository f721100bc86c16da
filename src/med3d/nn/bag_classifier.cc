#include "med3d/nn/bag_classifier.h"

#include <algorithm>
#include <string>
#include <utility>

#include "med3d/core/error.h"
#include "med3d/core/random.h"
#include "med3d/nn/internal/bag_pooling.h"
#include "med3d/nn/internal/layers.h"
#include "med3d/nn/internal/trainer.h"

namespace med3d::nn {
namespace {

// Instances sorted by bag: order[begin..end) are the rows of one bag, in their order.
struct BagIndex {
  std::vector<std::size_t> order;
  std::vector<std::size_t> ends;

  std::size_t begin(std::size_t bag) const { return bag == 0 ? 0 : ends[bag - 1]; }
};

BagIndex index_bags(const Bags& bags, std::size_t inputs, const char* what) {
  check_rows(bags.instances, inputs, what);
  const std::vector<std::size_t>& bag_of = bags.bag_of_instance;
  if (bag_of.size() != bags.instances.rows()) {
    throw Error(ErrorKind::kData,
                std::string(what) + ": " + std::to_string(bags.instances.rows()) +
                    " instances but " + std::to_string(bag_of.size()) + " bag numbers");
  }
  const std::size_t largest = *std::max_element(bag_of.begin(), bag_of.end());
  const auto empty = [&](std::size_t bag) {
    throw Error(ErrorKind::kData,
                std::string(what) + ": bag " + std::to_string(bag) +
                    " has no instance, but bags go up to number " + std::to_string(largest));
  };
  // Before anything is sized by it: with a number beyond the instances, a smaller one is missing.
  if (largest >= bag_of.size()) {
    std::vector<bool> seen(bag_of.size(), false);
    for (const std::size_t bag : bag_of) {
      if (bag < seen.size()) seen[bag] = true;
    }
    empty(static_cast<std::size_t>(std::find(seen.begin(), seen.end(), false) - seen.begin()));
  }
  const std::size_t count = largest + 1;
  BagIndex index;
  index.ends.assign(count, 0);
  for (const std::size_t bag : bag_of) ++index.ends[bag];
  std::vector<std::size_t> next(count);
  std::size_t total = 0;
  for (std::size_t b = 0; b < count; ++b) {
    if (index.ends[b] == 0) empty(b);
    next[b] = total;
    total += index.ends[b];
    index.ends[b] = total;
  }
  index.order.resize(total);
  for (std::size_t i = 0; i < total; ++i) index.order[next[bag_of[i]]++] = i;
  return index;
}

NetworkSpec network_spec(const BagOptions& options, std::size_t inputs) {
  NetworkSpec spec;
  spec.inputs = inputs;
  spec.hidden = options.hidden;
  spec.dropout = options.dropout;
  spec.batch_norm = options.batch_norm;
  spec.outputs = 1;
  spec.attention =
      options.pool == Pool::kAttention ? static_cast<std::size_t>(options.attention) : 0;
  return spec;
}

// Network outputs of all instances, in the order of the bags.
std::vector<float> sorted_outputs(const Network& network, const Bags& bags, const BagIndex& index) {
  const Matrix<float> rows = bags.instances.take_rows(index.order);
  return network.evaluate(rows.data(), rows.rows());
}

class BagTask : public TrainingTask {
 public:
  BagTask(const Bags& bags,
          const BagIndex& index,
          std::span<const std::uint8_t> y,
          const Bags* bags_val,
          const BagIndex& index_val,
          std::span<const std::uint8_t> y_val,
          const BagOptions& options)
      : bags_(bags),
        index_(index),
        y_(y),
        index_val_(index_val),
        y_val_(y_val),
        pool_(options.pool),
        noise_(derive_seed(options.training.seed, "noise")) {
    if (options.training.feature_noise > 0.0) {
      noise_sd_ = column_sd(bags.instances);
      for (float& sd : noise_sd_) sd *= static_cast<float>(options.training.feature_noise);
    }
    if (bags_val != nullptr) rows_val_ = bags_val->instances.take_rows(index_val.order);
  }

  std::span<const std::uint8_t> labels() const override { return y_; }

  void make_batch(std::span<const std::size_t> items, std::vector<float>& rows) override {
    rows.clear();
    ends_.clear();
    std::size_t count = 0;
    for (const std::size_t bag : items) {
      for (std::size_t i = index_.begin(bag); i < index_.ends[bag]; ++i) {
        const auto row = bags_.instances.row(index_.order[i]);
        rows.insert(rows.end(), row.begin(), row.end());
        float* out = rows.data() + rows.size() - row.size();
        for (std::size_t j = 0; j < noise_sd_.size(); ++j) out[j] += noise_sd_[j] * noise_.normal();
        ++count;
      }
      ends_.push_back(count);
    }
  }

  void pool(std::span<const float> outputs, std::vector<float>& logits) override {
    logits = pool_bags(pool_, outputs, ends_);
  }
  void pool_gradient(std::span<const float> outputs,
                     std::span<const float> logit_gradient,
                     std::vector<float>& output_gradient) override {
    output_gradient = pool_bags_gradient(pool_, outputs, ends_, logit_gradient);
  }

  std::span<const std::uint8_t> validation_labels() const override { return y_val_; }
  std::vector<float> validation_logits(const Network& network) const override {
    const std::vector<float> outputs = network.evaluate(rows_val_.data(), rows_val_.rows());
    return pool_bags(pool_, outputs, index_val_.ends);
  }

 private:
  const Bags& bags_;
  const BagIndex& index_;
  std::span<const std::uint8_t> y_;
  Matrix<float> rows_val_;  // sorted by bag
  const BagIndex& index_val_;
  std::span<const std::uint8_t> y_val_;
  Pool pool_;
  RandomStream noise_;
  std::vector<float> noise_sd_;
  std::vector<std::size_t> ends_;  // of the last batch
};

void check_labels(const BagIndex& index, std::size_t labels, const char* what) {
  if (index.ends.size() != labels) {
    throw Error(ErrorKind::kData,
                std::string(what) + ": " + std::to_string(index.ends.size()) + " bags but " +
                    std::to_string(labels) + " labels");
  }
}

}  // namespace

struct BagClassifier::Impl {
  Pool pool;
  Network network;
  LearningCurve curve;

  BagIndex index(const Bags& bags) const { return index_bags(bags, network.spec().inputs, "bags"); }
};

TrainingOptions BagOptions::default_training() {
  TrainingOptions options;
  options.epochs = 70;
  options.scheduler = TrainingOptions::Scheduler::kNone;
  options.loss = TrainingOptions::Loss::kBce;
  options.class_weights = true;
  options.sampler = TrainingOptions::Sampler::kWeighted;
  options.feature_noise = 0.05;
  options.early_stopping_patience = 10;
  options.select = TrainingOptions::Select::kBestLoss;
  return options;
}

void BagOptions::validate() const {
  training.validate();
  check_layers("BagClassifier", hidden, dropout);
  check_batch_norm("BagClassifier", batch_norm, training.batch_size);
  refuse_modality_dropout("BagClassifier", training.modality_dropout);
  if (training.loss != TrainingOptions::Loss::kBce) {
    throw Error(ErrorKind::kUsage,
                "BagClassifier: the loss is weighted cross-entropy on two logits, expected kBce: "
                "scans are pooled by one logit");
  }
  if (pool == Pool::kAttention && (attention < 1 || attention > 65536)) {
    throw Error(
        ErrorKind::kUsage,
        "BagClassifier: attention is " + std::to_string(attention) + " wide, expected 1 to 65536");
  }
}

BagClassifier BagClassifier::fit(const Bags& bags,
                                 std::span<const std::uint8_t> y,
                                 const BagOptions& options,
                                 const Bags* bags_val,
                                 std::span<const std::uint8_t> y_val) {
  options.validate();
  const std::size_t inputs = bags.instances.cols();
  const BagIndex index = index_bags(bags, inputs, "training bags");
  check_labels(index, y.size(), "training bags");
  BagIndex index_val;
  if (bags_val != nullptr) index_val = index_bags(*bags_val, inputs, "validation bags");
  check_labels(index_val, y_val.size(), "validation bags");
  const LossSpec loss = make_loss(options.training, y);
  auto impl = std::make_unique<Impl>(
      Impl{options.pool,
           Network(network_spec(options, inputs), options.training.device, options.training.seed),
           {}});
  BagTask task(bags, index, y, bags_val, index_val, y_val, options);
  impl->curve = train(impl->network, task, loss, options.training);
  return BagClassifier(std::move(impl));
}

std::vector<double> BagClassifier::predict(const Bags& bags) const {
  const BagIndex index = impl_->index(bags);
  std::vector<double> p;
  for (const float z :
       pool_bags(impl_->pool, sorted_outputs(impl_->network, bags, index), index.ends)) {
    p.push_back(sigmoid(z));
  }
  return p;
}

std::vector<double> BagClassifier::instance_scores(const Bags& bags) const {
  impl_->index(bags);  // for its checks
  const std::vector<float> outputs =
      impl_->network.evaluate(bags.instances.data(), bags.instances.rows());
  const std::size_t columns = output_columns(impl_->pool);
  std::vector<double> scores(bags.instances.rows());
  for (std::size_t i = 0; i < scores.size(); ++i) scores[i] = sigmoid(outputs[i * columns]);
  return scores;
}

std::vector<double> BagClassifier::attention_weights(const Bags& bags) const {
  if (impl_->pool != Pool::kAttention) {
    throw Error(ErrorKind::kUsage, "BagClassifier: attention weights of a net without attention");
  }
  const BagIndex index = impl_->index(bags);
  const std::vector<float> outputs = sorted_outputs(impl_->network, bags, index);
  std::vector<double> weights(bags.instances.rows());
  for (std::size_t b = 0; b < index.ends.size(); ++b) {
    const std::vector<double> a = attention_of(outputs, index.begin(b), index.ends[b]);
    for (std::size_t i = 0; i < a.size(); ++i) weights[index.order[index.begin(b) + i]] = a[i];
  }
  return weights;
}

Matrix<float> BagClassifier::embed(const Bags& bags) const {
  const BagIndex index = impl_->index(bags);
  const Matrix<float> rows = bags.instances.take_rows(index.order);
  const Matrix<float> hidden =
      impl_->network.hidden(rows.data(), rows.rows(), impl_->network.spec().hidden.size());
  const std::vector<float> outputs = impl_->network.evaluate(rows.data(), rows.rows());
  Matrix<float> embedding(index.ends.size(), hidden.cols());
  for (std::size_t b = 0; b < index.ends.size(); ++b) {
    const std::size_t begin = index.begin(b);
    const std::size_t end = index.ends[b];
    std::vector<double> weights(end - begin, 1.0 / static_cast<double>(end - begin));
    if (impl_->pool == Pool::kMax) {
      std::fill(weights.begin(), weights.end(), 0.0);
      weights[arg_max(outputs, begin, end) - begin] = 1.0;
    } else if (impl_->pool == Pool::kAttention) {
      weights = attention_of(outputs, begin, end);
    }
    for (std::size_t j = 0; j < hidden.cols(); ++j) {
      double sum = 0.0;
      for (std::size_t i = begin; i < end; ++i) sum += weights[i - begin] * hidden(i, j);
      embedding(b, j) = static_cast<float>(sum);
    }
  }
  return embedding;
}

const LearningCurve& BagClassifier::curve() const { return impl_->curve; }
std::size_t BagClassifier::inputs() const { return impl_->network.spec().inputs; }
Parameters BagClassifier::parameters() const { return impl_->network.parameters(); }

BagClassifier BagClassifier::from_parameters(const BagOptions& options,
                                             std::size_t inputs,
                                             const Parameters& parameters) {
  options.validate();
  auto impl = std::make_unique<Impl>(
      Impl{options.pool, Network(network_spec(options, inputs), options.training.device, 0), {}});
  impl->network.load(parameters);
  refuse_unknown_parameters(parameters, impl->network.parameters());
  return BagClassifier(std::move(impl));
}

BagClassifier::BagClassifier(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
BagClassifier::~BagClassifier() = default;
BagClassifier::BagClassifier(BagClassifier&&) noexcept = default;
BagClassifier& BagClassifier::operator=(BagClassifier&&) noexcept = default;

}  // namespace med3d::nn
