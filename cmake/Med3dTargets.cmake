# med3d_add_library: one module, one directory, one target.
#
#   med3d_add_library(NAME io SOURCES csv.cc TESTS csv_test.cc PUBLIC med3d::core PRIVATE ZLIB::ZLIB)
#
# With INTERNAL it is neither installed nor exported: a part of the program, not of the library.
# Headers named *_internal.h, or in a folder internal/, are never installed: they may show an outside
# library.
#
# Makes target med3d_<NAME> with alias and exported name med3d::<NAME>; TESTS become one program
# med3d_<NAME>_test whose cases ctest lists with the labels unit and <NAME>.

include(CheckCXXCompilerFlag)
include(CheckPIESupported)
check_pie_supported()  # without this CMake compiles for PIE but links without it
check_cxx_compiler_flag(-fcf-protection=full MED3D_HAS_CF_PROTECTION)
# clang-tidy reads the compiler's own flags, and clang 14 knows neither of GCC's two below.
if(NOT CMAKE_CXX_CLANG_TIDY)
  check_cxx_compiler_flag(-ftrivial-auto-var-init=zero MED3D_HAS_AUTO_VAR_INIT)
  if(CMAKE_CXX_COMPILER_ID STREQUAL GNU AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    set(MED3D_FALSE_WARNINGS -Wno-restrict)  # of std::string = "x" (GCC bug 105651)
  elseif(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
    # Of a function that takes a temporary string and returns a part of its other argument.
    set(MED3D_FALSE_WARNINGS -Wno-dangling-reference)
  endif()
endif()

# Hardening, checked on the finished program by tests/house/hardening. The files we read come from
# strangers: a mistake in a parser should end the program, not become a way in.
function(med3d_harden target)
  # glibc's checks need an optimising compiler, and sanitizers replace the same functions;
  # they also look for the reads that zeroed locals would hide.
  if(NOT CMAKE_CXX_FLAGS MATCHES "-fsanitize")
    target_compile_options(${target} PRIVATE
      $<$<NOT:$<CONFIG:Debug>>:-U_FORTIFY_SOURCE> $<$<NOT:$<CONFIG:Debug>>:-D_FORTIFY_SOURCE=2>
      $<$<BOOL:${MED3D_HAS_AUTO_VAR_INIT}>:-ftrivial-auto-var-init=zero>)
  endif()
  target_compile_options(${target} PRIVATE
    -fstack-protector-strong
    $<$<BOOL:${MED3D_HAS_CF_PROTECTION}>:-fcf-protection=full>)
  get_target_property(type ${target} TYPE)
  if(type MATCHES "^(EXECUTABLE|MODULE_LIBRARY)$")
    target_link_options(${target} PRIVATE -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack)
  endif()
endfunction()

function(med3d_compile_settings target)
  target_compile_features(${target} PUBLIC cxx_std_20)
  target_compile_options(${target} PRIVATE
    -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Wold-style-cast -Woverloaded-virtual
    ${MED3D_FALSE_WARNINGS}
    $<$<BOOL:${MED3D_WERROR}>:-Werror>)
  set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE ON)
  med3d_harden(${target})
endfunction()

function(med3d_add_library)
  cmake_parse_arguments(ARG "INTERNAL" "NAME" "SOURCES;TESTS;PUBLIC;PRIVATE;TEST_PRIVATE" ${ARGN})
  set(target med3d_${ARG_NAME})
  add_library(${target} STATIC ${ARG_SOURCES})
  add_library(med3d::${ARG_NAME} ALIAS ${target})
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${ARG_NAME})
  target_include_directories(${target} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_link_libraries(${target} PUBLIC ${ARG_PUBLIC} PRIVATE ${ARG_PRIVATE})
  med3d_compile_settings(${target})
  if(NOT ARG_INTERNAL)
    install(TARGETS ${target} EXPORT med3dTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
    install(DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR}/
            DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/med3d/${ARG_NAME}
            FILES_MATCHING PATTERN "*.h"
            PATTERN "*_internal.h" EXCLUDE
            PATTERN "internal" EXCLUDE)
  endif()
  if(MED3D_BUILD_TESTS AND ARG_TESTS)
    add_executable(${target}_test ${ARG_TESTS})
    target_link_libraries(${target}_test PRIVATE ${target} ${ARG_TEST_PRIVATE} GTest::gtest_main)
    med3d_compile_settings(${target}_test)
    gtest_discover_tests(${target}_test
      TEST_PREFIX "${ARG_NAME}." DISCOVERY_TIMEOUT 60 TEST_LIST ${target}_cases
      PROPERTIES ENVIRONMENT "MED3D_SOURCE_DIR=${PROJECT_SOURCE_DIR}")
    # Two labels cannot be handed over above: the list falls apart on its way to ctest, and takes
    # the properties after it along.
    set(labels_file ${CMAKE_CURRENT_BINARY_DIR}/${target}_labels.cmake)
    file(WRITE ${labels_file}
      "foreach(case IN LISTS ${target}_cases)\n"
      "  set_tests_properties(\"\${case}\" PROPERTIES LABELS \"unit;${ARG_NAME}\")\n"
      "endforeach()\n")
    set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES ${labels_file})
  endif()
endfunction()
