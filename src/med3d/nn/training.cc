#include "med3d/nn/training.h"

#include "med3d/nn/internal/option_check.h"

namespace med3d::nn {
namespace {

void check(const char* field, auto value, bool allowed, const char* expected) {
  check_option("training option", field, value, allowed, expected);
}

}  // namespace

void TrainingOptions::validate() const {
  check("epochs", epochs, epochs >= 1, "at least 1");
  check("batch_size", batch_size, batch_size >= 1, "at least 1");
  check("learning_rate",
        learning_rate,
        learning_rate > 0.0 && learning_rate <= 10.0,
        "a number in (0, 10]");
  check("weight_decay",
        weight_decay,
        weight_decay >= 0.0 && weight_decay <= 10.0,
        "a number in [0, 10]");
  check("label_smoothing",
        label_smoothing,
        label_smoothing >= 0.0 && label_smoothing < 1.0,
        "a number in [0, 1)");
  check("feature_noise",
        feature_noise,
        feature_noise >= 0.0 && feature_noise <= 10.0,
        "a number in [0, 10]");
  check("early_stopping_patience",
        early_stopping_patience,
        early_stopping_patience >= 0,
        "0 (never) or more");
  check("modality_dropout",
        modality_dropout,
        modality_dropout >= 0.0 && modality_dropout < 1.0,
        "a number in [0, 1)");
}

}  // namespace med3d::nn
