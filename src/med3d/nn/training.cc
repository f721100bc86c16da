#include "med3d/nn/training.h"

#include <string>

#include "med3d/core/error.h"
#include "med3d/core/text.h"

namespace med3d::nn {
namespace {

[[noreturn]] void refuse(const char* field, const std::string& found, const char* expected) {
  throw Error(ErrorKind::kUsage,
              std::string("training option ") + field + " is " + found + ", expected " + expected);
}

// Written so that NaN fails too.
void check(const char* field, double value, bool allowed, const char* expected) {
  if (!allowed) refuse(field, format_double(value), expected);
}

void check(const char* field, int value, bool allowed, const char* expected) {
  if (!allowed) refuse(field, std::to_string(value), expected);
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
