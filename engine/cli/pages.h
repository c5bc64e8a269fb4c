/* What completion.c and man.c share: every verb as they show it, `serve` with its settings
 * included, and the options that all verbs have. */
#ifndef EAGRE_ENGINE_CLI_PAGES_H
#define EAGRE_ENGINE_CLI_PAGES_H

#include "engine/cli/cli.h"

#include <stdio.h>

/* Calls for each verb in the order of --help, `serve` first. */
void pages_each_verb(void (*call)(void *ctx, const struct cli_verb *verb), void *ctx);
/* Calls for each option of a verb, its own first, then those that all verbs have. */
void pages_each_option(const struct cli_verb *verb,
                       void (*call)(void *ctx, const struct cli_option *option),
                       void *ctx);
/* Whether an option's value is one of a few words, as in "none|gzip|lz4". */
bool pages_is_choice(const char *value);

#endif
