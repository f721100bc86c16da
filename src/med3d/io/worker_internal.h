// What both ends of a worker's socket know.
#pragma once

#include <cstdint>
#include <string>

#include "med3d/core/limits.h"

namespace med3d::worker {

constexpr char kArgument[] = "--serve-as-worker";
constexpr char kProtocol[] = "med3d worker 1";  // with another one nobody speaks

constexpr int kSocketFd = 3;
constexpr int kLifeFd = 4;  // of a pipe; its other end is open as long as the parent lives

constexpr std::uint64_t kMostBytes = 256ULL << 20;  // of one message

enum class Op : std::uint32_t {
  kHello,  // kProtocol, limits; answered
  kBegin,  // the service's name, the folder to work in; not answered
  kCall,   // answered
  kEnd,    // not answered
};

struct RequestHead {
  std::uint32_t magic = 0;
  Op op = Op::kCall;
  std::uint64_t bytes = 0;         // that follow
  std::uint64_t shared_bytes = 0;  // of the memory, if a descriptor came along
};

enum class Status : std::uint32_t { kDone, kError };

struct AnswerHead {
  std::uint32_t magic = 0;
  Status status = Status::kDone;
  std::uint64_t bytes = 0;  // that follow
};

constexpr std::uint32_t kMagic = 0x6d65643dU;

// Memory of this size and less is kept from one file to the next.
constexpr std::uint64_t kKeptSharedBytes = 8ULL << 20;

// Lets this thread, and those it starts, make only the calls that reading files needs. Others fail
// with EPERM. Returns why that could not be done, or "".
std::string filter_system_calls();

}  // namespace med3d::worker
