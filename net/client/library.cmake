# libeagre.so.0, libeagre.a (one object, so that it can be linked alone), libeagre-dpdk.so.0, and what installs them.
# Only what abi.txt names is visible; tests/native/check_install compares.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(here ${CMAKE_CURRENT_SOURCE_DIR})
set(made ${CMAKE_CURRENT_BINARY_DIR})

file(WRITE ${made}/empty.c "")
add_library(eagre_shared SHARED ${made}/empty.c)
target_link_libraries(eagre_shared PRIVATE eagre_flags "$<LINK_LIBRARY:WHOLE_ARCHIVE,net_client>")
target_link_options(eagre_shared PRIVATE -Wl,--version-script=${here}/eagre.map -Wl,--as-needed)
set_target_properties(eagre_shared PROPERTIES OUTPUT_NAME eagre VERSION ${PROJECT_VERSION} SOVERSION 0
  LINK_DEPENDS ${here}/eagre.map)

set(parts)
foreach(part net_session net_wire net_kafka engine_record hw_nic hw_clock hw_mem engine_base)
  list(APPEND parts $<TARGET_FILE:${part}>)
endforeach()
add_custom_command(OUTPUT ${made}/libeagre.a
  COMMAND ${CMAKE_LINKER} -r -o ${made}/eagre.o --whole-archive $<TARGET_FILE:net_client> --no-whole-archive
          --start-group ${parts} --end-group
  COMMAND ${CMAKE_OBJCOPY} --keep-global-symbols=${here}/abi.txt ${made}/eagre.o
  COMMAND ${CMAKE_COMMAND} -E rm -f ${made}/libeagre.a
  COMMAND ${CMAKE_AR} rcs ${made}/libeagre.a ${made}/eagre.o
  DEPENDS net_client ${parts} ${here}/abi.txt COMMENT "libeagre.a" VERBATIM)
add_custom_target(eagre_static ALL DEPENDS ${made}/libeagre.a)

# Linked into the command line, and a library of its own for everybody else.
add_library(net_client_dpdk STATIC carrier_dpdk.c)
target_include_directories(net_client_dpdk PUBLIC include)
target_link_libraries(net_client_dpdk PUBLIC eagre_flags hw_ethdev)
add_library(eagre_dpdk SHARED ${made}/empty.c)
target_link_libraries(eagre_dpdk PRIVATE eagre_flags "$<LINK_LIBRARY:WHOLE_ARCHIVE,net_client_dpdk>")
target_link_options(eagre_dpdk PRIVATE -Wl,--version-script=${here}/eagre_dpdk.map)
set_target_properties(eagre_dpdk PROPERTIES OUTPUT_NAME eagre-dpdk VERSION ${PROJECT_VERSION} SOVERSION 0)
install(TARGETS eagre_dpdk LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})

file(RELATIVE_PATH up /${CMAKE_INSTALL_LIBDIR}/pkgconfig /) # the prefix may be moved
configure_file(eagre.pc.in ${made}/eagre.pc @ONLY)
configure_package_config_file(eagre-config.cmake.in ${made}/eagre-config.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/eagre PATH_VARS CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_LIBDIR)
write_basic_package_version_file(${made}/eagre-config-version.cmake COMPATIBILITY SameMinorVersion)
install(TARGETS eagre_shared LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES ${made}/libeagre.a DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES include/eagre/eagre.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/eagre)
install(FILES ${made}/eagre.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(FILES ${made}/eagre-config.cmake ${made}/eagre-config-version.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/eagre)
