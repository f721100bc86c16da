#include <malloc.h>

#include <array>
#include <climits>
#include <csignal>
#include <string>
#include <vector>

#include "med3d/cli/program.h"
#include "med3d/io/worker.h"
#include "med3d/radiology/volume_worker.h"
#include "med3d/wsi/slide_worker.h"

int main(int argc, char** argv) {
  // Started by ourselves, to decode files from outside (io/worker.h).
  constexpr std::array services = {&med3d::slide_worker_service, &med3d::volume_worker_service};
  if (const auto code = med3d::serve_as_worker(argc, argv, services)) return *code;
  med3d::set_worker_program("/proc/self/exe");
  // glibc maps and unmaps every large tensor anew, and the page faults cost a network half its
  // speed. Keep the memory instead; it must be said before the first allocation of size.
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, INT_MAX);
  mallopt(M_TOP_PAD, 64 << 20);
  // A reader that goes away must not end a run that still has files to write.
  std::signal(SIGPIPE, SIG_IGN);
  return med3d::run_program(std::vector<std::string>(argv + (argc > 0 ? 1 : 0), argv + argc));
}
