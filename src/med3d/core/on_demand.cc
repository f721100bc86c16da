#include "med3d/core/on_demand.h"

#include <dlfcn.h>

#include <string>

#include "med3d/core/error.h"

namespace med3d {
namespace {

std::string reason() {
  const char* text = dlerror();
  return text == nullptr ? "no reason given" : text;
}

}  // namespace

void* open_on_demand(OnDemandLibrary& library, const char* function) {
  // An exception leaves the flag unset.
  std::call_once(library.once, [&] {
    // Local, so that nothing else binds to its symbols: other libraries bring their own.
    void* handle = dlopen(library.file, RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) {
      const std::string why = reason();
      handle = dlopen(library.path, RTLD_NOW | RTLD_LOCAL);
      if (handle == nullptr) {
        throw Error(ErrorKind::kNotFound,
                    std::string("the library ") + library.file + " cannot be opened: " + why);
      }
    }
    if (library.opened != nullptr) library.opened(handle);
    library.handle = handle;
  });
  void* address = dlsym(library.handle, function);
  if (address == nullptr) {
    throw Error(ErrorKind::kNotFound,
                std::string("the library ") + library.file + " has no function " + function +
                    ", expected the version that med3d was built with");
  }
  return address;
}

}  // namespace med3d
