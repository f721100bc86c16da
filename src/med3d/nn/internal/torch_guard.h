// What every function of the module stands in: nothing is thrown across the border.
#pragma once

#include <c10/util/Exception.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>

#include "med3d/core/error.h"
#include "med3d/nn/internal/torch_interface.h"

namespace med3d::nn {

// Ends a call of the module with a kind of its own. Core's Error stays outside: it would be a
// second copy of it.
struct TorchRefusal : std::runtime_error {
  TorchRefusal(ErrorKind error_kind, const std::string& message)
      : std::runtime_error(message), kind(error_kind) {}
  ErrorKind kind;
};

inline void fill(TorchFailure* failure, std::int32_t kind, std::string_view message) {
  failure->kind = kind;
  const std::size_t size = std::min(message.size(), sizeof(failure->message) - 1);
  std::memcpy(failure->message, message.data(), size);
  failure->message[size] = '\0';
}

// Runs `work`; false, and the failure filled in, if it throws. What LibTorch throws is kIo, as
// rethrow_with_context makes of every outside library's exception, without its C++ stack.
template <class Work>
bool guarded(TorchFailure* failure, const Work& work) noexcept {
  constexpr auto kOther = static_cast<std::int32_t>(ErrorKind::kIo);
  try {
    work();
    return true;
  } catch (const TorchRefusal& refusal) {
    fill(failure, static_cast<std::int32_t>(refusal.kind), refusal.what());
  } catch (const c10::Error& error) {
    fill(failure, kOther, std::string("LibTorch: ") + error.what_without_backtrace());
  } catch (const std::bad_alloc&) {
    fill(failure, kTorchOutOfMemory, "out of memory");
  } catch (const std::exception& error) {
    fill(failure, kOther, std::string("LibTorch: ") + error.what());
  } catch (...) {
    fill(failure, kOther, "LibTorch: a failure without a message");
  }
  return false;
}

}  // namespace med3d::nn
