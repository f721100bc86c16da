#include "med3d/kernels/product_rate.h"

#include <unordered_map>

#include "med3d/core/error.h"
#include "med3d/kernels/internal/onednn.h"

namespace med3d {

struct ProductRate::Impl {
  int threads = 1;
  std::int64_t side = 0;
  dnnl::matmul product;
  std::unordered_map<int, dnnl::memory> arguments;
};

ProductRate::ProductRate(Arithmetic arithmetic, int threads, std::int64_t side)
    : impl_(std::make_unique<Impl>()) {
  impl_->threads = threads;
  impl_->side = side;
  const ThreadScope scope(threads);
  const auto any = onednn::desc({side, side}, onednn::type_of(arithmetic), onednn::Format::any);
  try {
    const dnnl::matmul::primitive_desc chosen(dnnl::matmul::desc(any, any, any), onednn::engine());
    impl_->product = dnnl::matmul(chosen);
    for (const auto& [argument, layout] : {std::pair(DNNL_ARG_SRC, chosen.src_desc()),
                                           std::pair(DNNL_ARG_WEIGHTS, chosen.weights_desc()),
                                           std::pair(DNNL_ARG_DST, chosen.dst_desc())}) {
      dnnl::memory memory(layout, onednn::engine());
      // Finite numbers near one in either format: zeros and denormals have speeds of their own.
      auto* bytes = static_cast<unsigned char*>(memory.get_data_handle());
      for (std::size_t i = 0; i + 1 < layout.get_size(); i += 2) {
        bytes[i] = static_cast<unsigned char>(i * 31 % 251);
        bytes[i + 1] = 0x3f;
      }
      impl_->arguments.emplace(argument, std::move(memory));
    }
  } catch (const dnnl::error& error) {
    throw Error(ErrorKind::kUnsupported, std::string("no matrix product here: ") + error.what());
  }
}

ProductRate::~ProductRate() = default;

void ProductRate::run() {
  const ThreadScope scope(impl_->threads);
  impl_->product.execute(onednn::stream(), impl_->arguments);
  onednn::stream().wait();
}

double ProductRate::operations() const {
  const auto side = static_cast<double>(impl_->side);
  return 2.0 * side * side * side;
}

}  // namespace med3d
