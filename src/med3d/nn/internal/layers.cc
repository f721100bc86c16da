#include "med3d/nn/internal/layers.h"

#include <string>

#include "med3d/core/error.h"
#include "med3d/core/text.h"

namespace med3d::nn {

void check_layers(const char* model,
                  const std::vector<int>& hidden,
                  const std::vector<double>& dropout) {
  const std::string name = model;
  if (hidden.empty()) {
    throw Error(ErrorKind::kUsage, name + ": no hidden layer, expected at least one width");
  }
  if (hidden.size() != dropout.size()) {
    throw Error(ErrorKind::kUsage,
                name + ": " + std::to_string(dropout.size()) + " dropout values for " +
                    std::to_string(hidden.size()) + " hidden layers, expected one for each");
  }
  for (std::size_t l = 0; l < hidden.size(); ++l) {
    if (hidden[l] < 1 || hidden[l] > 65536) {
      throw Error(ErrorKind::kUsage,
                  name + ": hidden layer " + std::to_string(l + 1) + " is " +
                      std::to_string(hidden[l]) + " wide, expected 1 to 65536");
    }
    if (!(dropout[l] >= 0.0 && dropout[l] < 1.0)) {
      throw Error(ErrorKind::kUsage,
                  name + ": dropout of hidden layer " + std::to_string(l + 1) + " is " +
                      format_double(dropout[l]) + ", expected a number in [0, 1)");
    }
  }
}

void check_batch_norm(const char* model, bool batch_norm, int batch_size) {
  if (batch_norm && batch_size < 2) {
    throw Error(ErrorKind::kUsage,
                std::string(model) + ": batch_size is " + std::to_string(batch_size) +
                    ", expected at least 2 with batch norm");
  }
}

void refuse_modality_dropout(const char* model, double modality_dropout) {
  if (modality_dropout != 0.0) {
    throw Error(ErrorKind::kUsage,
                std::string(model) + ": modality_dropout is " + format_double(modality_dropout) +
                    ", but only FusionNet has modalities to drop; expected 0");
  }
}

void check_layer(const char* model, int layer, std::size_t layers, int first) {
  if (layer < first || layer > static_cast<int>(layers)) {
    throw Error(ErrorKind::kUsage,
                std::string(model) + ": layer " + std::to_string(layer) + ", expected " +
                    std::to_string(first) + " to " + std::to_string(layers));
  }
}

}  // namespace med3d::nn
