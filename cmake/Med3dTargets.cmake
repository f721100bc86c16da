# med3d_add_library: one module, one directory, one target.
#
#   med3d_add_library(NAME io SOURCES csv.cc TESTS csv_test.cc PUBLIC med3d::core PRIVATE ZLIB::ZLIB)
#
# Makes target med3d_<NAME> with alias and exported name med3d::<NAME>; TESTS become one program
# med3d_<NAME>_test whose cases ctest lists with the labels unit and <NAME>.

function(med3d_compile_settings target)
  target_compile_features(${target} PUBLIC cxx_std_20)
  target_compile_options(${target} PRIVATE
    -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Wold-style-cast -Woverloaded-virtual
    -fstack-protector-strong $<$<BOOL:${MED3D_WERROR}>:-Werror>)
  set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE ON)
endfunction()

function(med3d_add_library)
  cmake_parse_arguments(ARG "" "NAME" "SOURCES;TESTS;PUBLIC;PRIVATE;TEST_PRIVATE" ${ARGN})
  set(target med3d_${ARG_NAME})
  add_library(${target} STATIC ${ARG_SOURCES})
  add_library(med3d::${ARG_NAME} ALIAS ${target})
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${ARG_NAME})
  target_include_directories(${target} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_link_libraries(${target} PUBLIC ${ARG_PUBLIC} PRIVATE ${ARG_PRIVATE})
  med3d_compile_settings(${target})
  install(TARGETS ${target} EXPORT med3dTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR}/
          DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/med3d/${ARG_NAME}
          FILES_MATCHING PATTERN "*.h")
  if(MED3D_BUILD_TESTS AND ARG_TESTS)
    add_executable(${target}_test ${ARG_TESTS})
    target_link_libraries(${target}_test PRIVATE ${target} ${ARG_TEST_PRIVATE} GTest::gtest_main)
    med3d_compile_settings(${target}_test)
    gtest_discover_tests(${target}_test
      TEST_PREFIX "${ARG_NAME}." DISCOVERY_TIMEOUT 60
      PROPERTIES LABELS "unit;${ARG_NAME}" ENVIRONMENT "MED3D_SOURCE_DIR=${PROJECT_SOURCE_DIR}")
  endif()
endfunction()
