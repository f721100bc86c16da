// CLAM (clustering-constrained attention) and its plainer relatives: from a bag of patch features
// to the logits of a slide.
//
//   h = dropout(relu(X W0^T + b0))                                       (N, 512)
//   s = Wc (dropout(tanh(Wa h + ba)) * dropout(sigmoid(Wb h + bb))) + bc  (N, K) attention_raw
//   A = softmax over the patches,  M = A^T h                             (K, 512) embedding
//   logits = W M + b        clam_sb: K = 1, one linear layer; clam_mb: K = n_classes, logit c from
//                           row c of M alone
//
// Instance clustering (training): the k patches of highest attention should be positive and the k
// of lowest negative to a two-way classifier of the true class; with subtyping also the k highest
// of every other class negative to that class's, and the sum divided by n_classes.
//
//   total = bag_weight * bag_loss + (1 - bag_weight) * instance_loss
//
// Ties in attention go to the patch that comes first.
//
// Source: Lu et al., Nat Biomed Eng 5:555-570, 2021. doi:10.1038/s41551-020-00682-w; Ilse et al.,
// ICML 2018, arXiv:1802.04712 (abmil).
// Checked against: CLAM's own code and shipped checkpoint (logits, attention, embedding, losses,
// instance predictions to 1e-5; 24 training steps), central differences.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "med3d/core/matrix.h"
#include "med3d/kernels/cpu.h"
#include "med3d/mil/bags.h"
#include "med3d/mil/losses.h"

namespace med3d::mil {

enum class ModelType {
  kClamSb,  // one attention branch
  kClamMb,  // one a class
  kMil,     // CLAM's baseline: the slide is its most telling patch. Two classes: the patch with the
            // highest probability of class 1; more: with the highest of any
  kAbmil,   // clam_sb without instance clustering
  kMean,    // M = mean of h
  kMax,     // M = largest of each column of h
};
enum class ModelSize { kSmall, kBig };  // attention width D: 256 or 384
enum class BagLossKind { kCe, kSvm, kNllSurv };
enum class InstanceLossKind { kSvm, kCe };
enum class Optimiser { kAdam, kSgd };

std::string_view to_string(ModelType type);  // "clam_sb", "clam_mb", "mil", "abmil", "mean", "max"
std::string_view to_string(ModelSize size);  // "small", "big"
std::string_view to_string(BagLossKind kind);       // "ce", "svm", "nll_surv"
std::string_view to_string(InstanceLossKind kind);  // "svm", "ce"
std::string_view to_string(Optimiser kind);         // "adam", "sgd"
// Throw Error(kUsage) naming what there is.
ModelType model_type_of(std::string_view name);
ModelSize model_size_of(std::string_view name);
BagLossKind bag_loss_of(std::string_view name);
InstanceLossKind instance_loss_of(std::string_view name);
Optimiser optimiser_of(std::string_view name);

// Names and defaults are those of CLAM's main.py where it has them.
struct ClamOptions {
  ModelType model_type = ModelType::kClamSb;
  ModelSize model_size = ModelSize::kSmall;
  bool gated = true;
  // Of h. Where it is above 0, both attention branches drop a quarter, as CLAM's do whatever it is.
  double drop_out = 0.25;
  std::size_t n_classes = 2;  // or time intervals for nll_surv; at least 2
  std::size_t embed_dim = 1024;
  // Widths of h and of the attention; 0 = 512, and 256 or 384 by model_size. CLAM has no others.
  std::size_t hidden_dim = 0;
  std::size_t attention_dim = 0;

  // Patches in each instance cluster (CLAM's B). A slide with fewer than twice as many takes half
  // of its patches, so that none is positive and negative at once; a slide of one has no instance
  // loss.
  std::size_t k_sample = 8;
  // CLAM's own rule for slides of k_sample to 2 k_sample - 1 patches: clusters of k_sample, some
  // patches in both. To reproduce its figures.
  bool shared_instances = false;
  bool no_inst_cluster = false;
  bool subtyping = false;
  InstanceLossKind inst_loss = InstanceLossKind::kSvm;  // CLAM's README; its code falls back to ce
  BagLossKind bag_loss = BagLossKind::kCe;
  double alpha_surv = 0.0;  // of nll_surv
  double bag_weight = 0.7;

  Optimiser opt = Optimiser::kAdam;
  double lr = 1e-4;
  double reg = 1e-5;  // L2, added to the gradient
  int max_epochs = 200;
  bool weighted_sample = false;  // slides drawn with replacement, classes equally often
  bool early_stopping = false;
  int patience = 20;            // epochs without a lower validation loss
  int stop_epoch = 50;          // never stops before epochs 0 to this are done
  std::size_t max_patches = 0;  // of a bag in a training step, drawn anew each time; 0 = all
  std::uint64_t seed = 1;

  // Number format of the products of training. bf16 keeps weights, sums and optimiser in f32,
  // rounds features and activations to 8 bits of fraction (gradients differ by about 3e-3), and
  // takes half the time where the processor multiplies it natively; elsewhere f32 is used, and
  // Clam::arithmetic() says so. What a net says (forward) is always computed in f32.
  Arithmetic precision = Arithmetic::kBf16;
  int threads = 1;  // no effect on any result

  std::size_t hidden() const;     // 512
  std::size_t attention() const;  // 256 or 384
  bool has_attention() const;     // clam_sb, clam_mb, abmil
  std::size_t heads() const;      // K: rows of attention_raw and embedding
  bool has_instances() const;     // clam_sb and clam_mb hold instance classifiers
  bool clusters() const;          // and train them
  void validate() const;          // throws Error(kUsage) naming the field
};

// What the net says of one slide; the second half only where a target was given.
struct BagOutput {
  std::vector<float> logits;          // (n_classes)
  std::vector<double> probabilities;  // Head::probabilities
  int predicted = 0;                  // Y_hat
  double risk = 0.0;                  // Head::risk
  Matrix<float> attention_raw;        // (K, N) before the softmax; mil: the patch's probability
  Matrix<float> embedding;            // M (K, 512)

  double bag_loss = 0.0;
  double instance_loss = 0.0;
  double total_loss = 0.0;
  std::vector<int> instance_predicted;  // class by class, top then bottom
  std::vector<int> instance_label;
};

struct ParameterInfo {
  std::string name;  // as CLAM's state dict has it: "attention_net.0.weight"
  std::vector<std::uint64_t> shape;
  std::size_t offset = 0;  // in parameters()
  std::size_t size = 0;
};

// State of the optimiser, to go on from.
struct OptimiserState {
  std::vector<float> m, v;          // (parameters) moments; v empty for sgd
  std::vector<std::int64_t> steps;  // of the net, then of each instance classifier: CLAM's Adam
                                    // leaves a classifier alone until a slide of its class comes
};

// A net with its memory for one bag at a time: not for two threads at once (it uses
// options().threads itself).
class Clam {
 public:
  // Weights as torch.nn.Linear begins: uniform in +- 1 / sqrt(inputs), drawn from the seed.
  explicit Clam(const ClamOptions& options);
  Clam(Clam&&) noexcept;
  Clam& operator=(Clam&&) noexcept;
  ~Clam();

  const ClamOptions& options() const;
  const Head& head() const;
  Arithmetic arithmetic() const;  // of training, in use
  const std::vector<ParameterInfo>& parameter_info() const;
  std::span<const float> parameters() const;
  // Throws Error(kUsage) for another number of values, Error(kData) if one is not finite.
  void set_parameters(std::span<const float> values);

  // Without dropout. Losses and instances where a target is given.
  //
  // bag   (N, embed_dim), N >= 1, finite
  // Cost 2 N (embed_dim * 512 + 512 * 2 D) operations; memory N * (512 + 2 D) floats, kept for the
  // next bag.
  // Throws Error(kData) for another width or no patches, kNumerical if the logits are not finite,
  // kUsage for a target that does not fit.
  BagOutput forward(const BagView& bag, const Target* target = nullptr);

  // Forward with dropout drawn from the seed, and the gradient of total_loss; gradient() holds it.
  BagOutput backward(const BagView& bag, const Target& target, std::uint64_t dropout_seed);
  std::span<const float> gradient() const;

  // backward(), and one step of the optimiser. Nothing is changed where it throws kNumerical.
  BagOutput train_step(const BagView& bag, const Target& target, std::uint64_t dropout_seed);
  OptimiserState optimiser_state() const;
  // Throws Error(kUsage) if the sizes do not fit.
  void set_optimiser_state(OptimiserState state);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace med3d::mil
