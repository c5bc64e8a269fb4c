#include "engine/cli/pages.h"

#include "engine/config/config.h"

#include <ctype.h>
#include <string.h>

#define SERVE_OPTIONS_MAX 256u

static const struct cli_option common_options[] = {
    {"server", "HOST:PORT", "the server's Kafka address (default: " CLI_DEFAULT_SERVER ")"},
    {"json", NULL, "JSON on standard output"},
    {"help", NULL, "the verb's usage"},
    {NULL, NULL, NULL},
};

static struct cli_option serve_options[SERVE_OPTIONS_MAX + 1];
static const struct cli_verb serve_verb = {
    .name = "serve",
    .words = "",
    .summary = "Run the server. Settings come from flags, then from the YAML file that --config "
               "names, then from the defaults.",
    .options = serve_options,
    .is_local = true,
};

static const char *
serve_value(const struct setting *row)
{
    static const char *const names[] = {
        [SETTING_BOOL] = NULL,
        [SETTING_U64] = "N",
        [SETTING_BYTES] = "BYTES",
        [SETTING_SIZE_OR_NONE] = "BYTES|-1",
        [SETTING_MS] = "MS",
        [SETTING_TEXT] = "TEXT",
        [SETTING_HOST_PORT] = "HOST:PORT",
    };

    return row->type == SETTING_CHOICE ? row->unit : names[row->type];
}

void
pages_each_verb(void (*call)(void *ctx, const struct cli_verb *verb), void *ctx)
{
    uint32_t count = config_count() < SERVE_OPTIONS_MAX - 1 ? config_count()
                                                            : SERVE_OPTIONS_MAX - 1;

    serve_options[0] = (struct cli_option){"config", "FILE", "read settings from this YAML file"};
    for (uint32_t i = 0; i < count; i++) {
        const struct setting *row = config_at(i);
        serve_options[i + 1] = (struct cli_option){row->name, serve_value(row), row->about};
    }
    call(ctx, &serve_verb);
    for (const struct cli_verb *verb = cli_verbs; verb->name != NULL; verb++)
        call(ctx, verb);
}

void
pages_each_option(const struct cli_verb *verb,
                  void (*call)(void *ctx, const struct cli_option *option),
                  void *ctx)
{
    for (const struct cli_option *option = verb->options; option->name != NULL; option++)
        call(ctx, option);
    for (const struct cli_option *option = common_options; option->name != NULL; option++) {
        bool is_help = strcmp(option->name, "help") == 0;
        bool is_server = strcmp(option->name, "server") == 0;
        if (verb == &serve_verb ? is_help : !is_server || !verb->is_local)
            call(ctx, option);
    }
}

bool
pages_is_choice(const char *value)
{
    if (value == NULL || strchr(value, '|') == NULL)
        return false;
    for (const char *at = value; *at != '\0'; at++)
        if (!islower((unsigned char)*at) && !isdigit((unsigned char)*at) &&
            strchr("|-_", *at) == NULL)
            return false;
    return true;
}
