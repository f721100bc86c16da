#include <malloc.h>

#include <climits>
#include <csignal>
#include <string>
#include <vector>

#include "med3d/cli/program.h"

int main(int argc, char** argv) {
  // glibc maps and unmaps every large tensor anew, and the page faults cost a network half its
  // speed. Keep the memory instead; it must be said before the first allocation of size.
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, INT_MAX);
  mallopt(M_TOP_PAD, 64 << 20);
  // A reader that goes away must not end a run that still has files to write.
  std::signal(SIGPIPE, SIG_IGN);
  return med3d::run_program(std::vector<std::string>(argv + (argc > 0 ? 1 : 0), argv + argc));
}
