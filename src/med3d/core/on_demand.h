// Shared libraries that are opened by the first call of one of their functions, not at the start.
//
// A program that links to everything it could need pays for it in every command: most of a short
// one's time went into relocating libraries that it never called. cmake/OnDemand.cmake makes, for
// such a library, one small file of entries: functions with the library's own names that jump
// through a table, and ask open_on_demand() for what is not in it yet. Callers include the
// library's header and call as ever.
#pragma once

#include <mutex>

namespace med3d {

// One such library; the generated file holds one of static storage. Its functions may be called
// from several threads.
struct OnDemandLibrary {
  const char* file;  // its SONAME: looked for as the loader would have
  const char* path;  // where it lay when this was built, tried next
  // After opening, once; or none. It gets the handle of dlopen.
  void (*opened)(void* handle);
  std::once_flag once{};
  void* handle = nullptr;
};

// The address of a function of the library, which is opened first where it is not.
// Throws Error(kNotFound) naming the library and the loader's reason; a later call tries again.
void* open_on_demand(OnDemandLibrary& library, const char* function);

}  // namespace med3d
