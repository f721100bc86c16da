#include "med3d/cli/commands/doctor_checks.h"

#include <fmt/format.h>

namespace med3d {

Check matrix_product_check(double gflops) {
  constexpr double kSlow = 15.0;
  Check check{
      "matrix product", CheckState::kOk, fmt::format("{:.0f} GFLOP/s on one thread", gflops), ""};
  // Written so that a measurement that is no number warns as well.
  if (!(gflops >= kSlow)) {
    check.state = CheckState::kWarning;
    check.advice = fmt::format(
        "below {:.0f}, every fit of a network is several times slower than it could be: install "
        "libopenblas0-openmp (or another program holds the processor: run this again)",
        kSlow);
  }
  return check;
}

}  // namespace med3d
