# med3d_use_on_demand: a target calls a shared library that is opened by the first call, not when
# the program starts.
#
#   med3d_use_on_demand(med3d_io LIBRARY ${HDF5} FUNCTIONS "^H5" DATA "^H5.*_g$" AFTER H5open)
#   med3d_use_on_demand(med3d_wsi LIBRARY ${OPENCV} NAMES _ZN2cv13setNumThreadsEi ...)
#
# FUNCTIONS, a regular expression, takes all that the library exports under such names; NAMES those
# alone, as the linker knows them. For each the target gets a function of that name, hidden, which
# jumps through a table (core/on_demand.h). DATA are 8-byte variables, which are copied once, when
# AFTER, a function without arguments, has set them. The header's folder is the caller's to add.
#
# Only functions can be had so: a class with virtual functions, or an exception to be caught by its
# type, needs a link. Where the processor is none we have entries for (x86-64), or with
# MED3D_OPEN_ON_DEMAND off, the library is linked as ever.

option(MED3D_OPEN_ON_DEMAND "Open large libraries when they are first called" ON)

function(med3d_use_on_demand target)
  cmake_parse_arguments(ARG "" "LIBRARY;FUNCTIONS;DATA;AFTER" "NAMES" ${ARGN})
  if(NOT MED3D_OPEN_ON_DEMAND OR NOT CMAKE_SYSTEM_NAME STREQUAL Linux
     OR NOT CMAKE_SYSTEM_PROCESSOR STREQUAL x86_64 OR NOT ARG_LIBRARY MATCHES "[.]so")
    target_link_libraries(${target} PRIVATE ${ARG_LIBRARY})
    return()
  endif()

  get_filename_component(path ${ARG_LIBRARY} REALPATH)
  execute_process(COMMAND ${CMAKE_READELF} -dW ${path}
                  OUTPUT_VARIABLE dynamic COMMAND_ERROR_IS_FATAL ANY)
  if(NOT dynamic MATCHES "SONAME[^[]*\\[([^]]+)\\]")
    message(FATAL_ERROR "${path}: no SONAME, expected a shared library")
  endif()
  set(soname ${CMAKE_MATCH_1})
  execute_process(COMMAND ${CMAKE_NM} -D -S --defined-only ${path}
                  OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
  string(REPLACE "\n" ";" symbols "${symbols}")

  set(functions)
  set(variables)
  foreach(symbol IN LISTS symbols)
    if(symbol MATCHES "^[0-9a-f]+ [0-9a-f]+ [TWi] ([A-Za-z0-9_]+)")
      set(name ${CMAKE_MATCH_1})
      if(name IN_LIST ARG_NAMES OR (ARG_FUNCTIONS AND name MATCHES "${ARG_FUNCTIONS}"))
        list(APPEND functions ${name})
      endif()
    elseif(ARG_DATA AND symbol MATCHES "^[0-9a-f]+ 0+8 [BD] ([A-Za-z0-9_]+)")
      set(name ${CMAKE_MATCH_1})
      if(name MATCHES "${ARG_DATA}")
        list(APPEND variables ${name})
      endif()
    endif()
  endforeach()
  list(REMOVE_DUPLICATES functions)
  foreach(name IN LISTS ARG_NAMES)
    if(NOT name IN_LIST functions)
      message(FATAL_ERROR "${path}: no function ${name}, as ${target} wants it")
    endif()
  endforeach()
  if(NOT functions)
    message(FATAL_ERROR "${path}: no function of the names that ${target} wants")
  endif()

  set(MED3D_ENTRIES)
  set(MED3D_NAMES)
  set(index 0)
  foreach(name IN LISTS functions)
    string(APPEND MED3D_ENTRIES "MED3D_ENTRY(\"${name}\", \"${index}\")\n")
    string(APPEND MED3D_NAMES "    \"${name}\\0\"\n")
    math(EXPR index "${index} + 1")
  endforeach()
  set(MED3D_COUNT ${index})
  set(MED3D_VARIABLES)
  set(MED3D_COPIES)
  foreach(name IN LISTS variables)
    string(APPEND MED3D_VARIABLES
           "extern \"C\" __attribute__((visibility(\"hidden\"))) long ${name};\nlong ${name} = 0;\n")
    string(APPEND MED3D_COPIES "  copy(handle, \"${name}\", ${name});\n")
  endforeach()
  set(MED3D_AFTER "${ARG_AFTER}")
  set(MED3D_HAS_DATA 0)
  if(variables)
    set(MED3D_HAS_DATA 1)
  endif()
  set(MED3D_SONAME ${soname})
  set(MED3D_PATH ${ARG_LIBRARY})
  string(MAKE_C_IDENTIFIER ${soname} MED3D_LIBRARY_ID)
  set(file ${CMAKE_CURRENT_BINARY_DIR}/on_demand_${MED3D_LIBRARY_ID}.cc)
  configure_file(${PROJECT_SOURCE_DIR}/cmake/on_demand.cc.in ${file} @ONLY)
  target_sources(${target} PRIVATE ${file})
  target_link_libraries(${target} PRIVATE ${CMAKE_DL_LIBS})
endfunction()
