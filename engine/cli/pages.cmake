# Manual pages and completion, written by the program itself from its table of verbs, and what installs them.
include(GNUInstallDirs)
set(pages ${CMAKE_BINARY_DIR}/share)
add_custom_command(OUTPUT ${pages}/man/man1/eagre.1
  COMMAND ${CMAKE_COMMAND} -E make_directory ${pages}/man/man1 ${pages}/completion
  COMMAND eagre man --all ${pages}/man/man1
  COMMAND eagre completion bash > ${pages}/completion/eagre
  COMMAND eagre completion zsh > ${pages}/completion/_eagre
  DEPENDS eagre COMMENT "manual pages and completion" VERBATIM)
add_custom_target(eagre_pages ALL DEPENDS ${pages}/man/man1/eagre.1)
install(TARGETS eagre RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY ${pages}/man/man1 DESTINATION ${CMAKE_INSTALL_MANDIR} FILES_MATCHING PATTERN "*.1")
install(FILES ${pages}/completion/eagre DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(FILES ${pages}/completion/_eagre DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
